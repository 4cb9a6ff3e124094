// Instructions as labelers will see them, while they are written.
"use strict";

(() => {
  const show = () => markdown($("preview"), $("instructions").value);
  $("instructions").addEventListener("input", show);
  show();
})();
