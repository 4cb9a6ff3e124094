// Package web is what people and customers see: the labeling page, the admin pages, the chat page, and the
// REST API in the shape of OpenAI's.
//
// Decisions:
//   - Deny by default. A route is added by one function that takes who may use it; a request without a rule is
//     refused. Without signing in there are /healthz, /readyz, /login, /static and /look, the switch of language and theme.
//   - Two ways in, never mixed: pages take the session cookie, /v1 and /api take a Bearer key.
//   - Errors of all rooms become answers in one table (errors.go); their shape follows the path: OpenAI's object
//     under /v1, problem+json (RFC 9457) under /api, /label/api and /admin/api, a page elsewhere.
//   - JSON from outside is read by one strict decoder: valid UTF-8, no NUL, depth 32, no duplicate or unknown
//     keys, no trailing data. OpenAI's routes ignore unknown keys, as its clients expect.
//   - Text of models and customers reaches a page as text nodes only, in <bdi>, with invisible and directional
//     characters written out. The content security policy allows no inline script or style, no other origin, and
//     no sink that parses HTML (trusted types).
//   - An English sentence is the key of its translations (web/lang): t in templates, say in handlers, t() in scripts; tests
//     hold what is said against what is translated. Errors of the rooms are recognised by their words. The language is the
//     account's, else the cookie's, else the browser's wish; theme and language are forms in the header.
//   - One stylesheet of tokens, light and dark side by side; every page keeps WCAG 2.2 AA (axe in the tests).
//   - Server-rendered pages with one small script each, no framework, no build step. Libraries are vendored with
//     their licences in static/vendor.
//   - A request of the API is refused before the engine hears of it where it might use more than its key has left: what it may use at
//     most is set aside when it begins, and given back when it ends (v1_budget.go).
//   - What is measured (Meter) is for a listener of its own on this machine; the server that everybody reaches has no /metrics.
//   - A request that asked the policy holds its weights until its last byte is sent (Served.Release), so a
//     promotion never cuts an answer.
//   - Handlers call one method of a room per act and open no transaction.
package web
