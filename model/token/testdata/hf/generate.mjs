// Makes small tokenizer.json files of the shapes that published models have, and the
// ids that Hugging Face's own library gives with them:
//
//	npm install tokenizers@0.23.2 && node generate.mjs
//
// Vocabularies are learned here from the texts below; what matters is the pipeline
// around them.
import { createRequire } from "module";
import { writeFileSync, mkdirSync } from "fs";
import { dirname, join } from "path";
import { fileURLToPath } from "url";

const { Tokenizer } = createRequire(join(process.cwd(), "x.js"))("tokenizers");
const here = dirname(fileURLToPath(import.meta.url));

const corpus = [
  "The quick brown fox didn't jump over the lazy dog, and the dog didn't care: it's asleep.",
  "In the beginning there was the word; the word was with them, and they'd say it's 12345 or 2026.",
  "She said: I'M HERE, you're there, we've 100 apples and they'll eat 99 of them!",
  "Die Äpfel fielen über die Straße; l'été était déjà fini, mañana será otro día.",
  "Привет, мир! Как дела? Хорошо, спасибо. 你好,世界!今天天气很好。日本語のテキスト。",
  "def f(x):\n    return x + 1\n\nfor i in range(10):\n\tprint(f(i))\n",
  "the the the of of and and to to in in that that was was it it he he for for",
];

const texts = [
  "", " ", "  ", "   ", "a", " a", "  a", "   a", "a ", "a  ", "a   b", "Hello world", "hello  world", " hello world ",
  "The quick brown fox didn't jump.", "I'm you're they'd we'll it's we've can't", "I'M YOU'RE THEY'D WE'LL IT'S WE'VE CAN'T",
  "'s 'S '\u017f x'\u017fy 'ſ", "don''t ''' '", "12345 1 12 123 1234 12345678901", "a1b22c333d4444", "½ ⅷ ٣٤٥٦ १२३४", "3.14159 1,000,000 $5.99",
  "line\nline\n\nline\n\n\nline\r\nline\r\n\r\nend\n", "\n", "\n\n", " \n", "\n ", " \n \n x", "a \n b", "a\n  b", "  \t\n  \tx\n", "\t\ttabs\tand spaces \t ",
  "x!!!\n\ny", "...\r\n", "!@#$%^&*()_+-=[]{}|;':\",./<>?`~", "a.b,c;d:e", "foo(bar)[baz]{qux}", "https://example.com/a?b=c&d=e#f",
  "Äpfel Straße naïve café résumé", "e\u0301 A\u030a \u0439 \u0438\u0306 \u1e9b\u0323 \ufb01 \u212b", "İstanbul IĞDIR ΟΔΟΣ ΣΊΣΥΦΟΣ DŽ ǅ", "Привет, мир!", "你好,世界!", "日本語のテキスト ひらがな カタカナ", "한국어 텍스트", "नमस्ते दुनिया",
  "مرحبا بالعالم", "😀 😃👍🏽 👨‍👩‍👧‍👦 🇩🇪", "a😀b", "\u00a0nbsp\u00a0x", "\u2003em\u2003 \u3000x\u3000", "a\u0085b \u2028c\u2029d", "zero\u200bwidth \u200d \ufeff bom", "soft\u00adhyphen", "\u0000nul\u0001\u001f\u007f\u009f", "\ue000 private \ufffd repl \u0378",
  "▁ ▁▁a ▁the the▁", "Ġthe Ċ", "<0x0A> <0xE4>", "</w> a</w>b the</w>", "the of and", "thethethe", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "          ten spaces", "=".repeat(60), "\u4e00\u3400\u{20000}\u{2b820}\u{2b920}\uf900",
  "mixed 中文 and English 123 テスト", "snake_case camelCase kebab-case __init__", "A\u0327\u0301 a\u0301\u0327", "“quotes” ‘single’ — dash… €100 £5 §3", "x\u0301\u0302\u0303y", "i\u0307 \u0131", "a\n", "fox foxglove  foxy thefox fox", "<s> </s> <unk> <|endoftext|>",
  "in the beginning they begin", "x      y", "\r", " \r x", " \r  x", "a \r b\r\r c", "x!\r\r y", "'\u017f't'LL'Re'vE'x", "12'3", "1234567 ½½½½",
  "<s>the</s>", "a <mask> b", "a<mask>b <mask>", "  <mask>  x", "word wordy word-word a word", "W\u00d6RD W\u00f6rd", "<|im_start|>user\nhi<|im_end|>\n", "the<s>  the <s> the",
];

// learn merges the most frequent pair until there are n tokens.
function learn(words, start, n) {
  const vocab = [...start], merges = [];
  const list = [...words].map(([w, c]) => [w, c]);
  while (vocab.length < n) {
    const pairs = new Map();
    for (const [w, c] of list) for (let i = 0; i + 1 < w.length; i++) {
      const k = w[i] + " " + w[i + 1];
      pairs.set(k, (pairs.get(k) ?? 0) + c);
    }
    const best = [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    if (!best || best[1] < 2) break;
    const [l, r] = best[0].split(" ");
    merges.push([l, r]);
    if (!vocab.includes(l + r)) vocab.push(l + r);
    for (const x of list) {
      const out = [];
      for (let i = 0; i < x[0].length; i++)
        if (x[0][i] === l && x[0][i + 1] === r) { out.push(l + r); i++; } else out.push(x[0][i]);
      x[0] = out;
    }
  }
  return { vocab, merges };
}

// letters spells bytes as byte-level vocabularies do.
const letters = (() => {
  const out = [], ok = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  for (let b = 0, n = 0; b < 256; b++) out.push(String.fromCodePoint(ok(b) ? b : 256 + n++));
  return out;
})();

function count(words) {
  const out = new Map();
  for (const w of words) { const k = w.join("\u0000"); out.set(k, (out.get(k) ?? 0) + 1); }
  return [...out].map(([k, c]) => [k.split("\u0000"), c]);
}

const byteWords = corpus.flatMap((t) => t.match(/ ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+/gu)).map((w) => [...Buffer.from(w)].map((b) => letters[b]));
const byteBPE = () => learn(count(byteWords), [...letters].sort(), 500);
const bytePieces = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
const spWords = corpus.flatMap((t) => ("▁" + t.replaceAll(" ", "▁")).match(/▁?[^▁]+/gu)).map((w) => [...w]);
const spBPE = (fallback) => learn(count(spWords), ["<unk>", "<s>", "</s>", ...(fallback ? bytePieces : []), ...new Set(spWords.flat())], 700);
const gptWords = corpus.flatMap((t) => t.toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, "").match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu)).map((w) => { const c = [...w]; c[c.length - 1] += "</w>"; return c; });
const gptBPE = () => { const all = new Set(gptWords.flat()); for (const c of [...all]) all.add(c.replace("</w>", "")).add(c.replace("</w>", "") + "</w>"); all.delete(""); return learn(count(gptWords), ["<unk>", ...all], 500); };

const byteLevel = (o) => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true, ...o });
const cl100k = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const split = (Regex) => ({ type: "Sequence", pretokenizers: [{ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }, byteLevel({ use_regex: false })] });
const special = (content, o) => ({ content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...o });
const template = (before, after = []) => ({
  type: "TemplateProcessing",
  single: [...before.map((id) => ({ SpecialToken: { id, type_id: 0 } })), { Sequence: { id: "A", type_id: 0 } }, ...after.map((id) => ({ SpecialToken: { id, type_id: 0 } }))],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
  special_tokens: [...before, ...after],
});
const llamaDecoder = (strip = true) => ({ type: "Sequence", decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }, ...(strip ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [])] });
const metaspace = (o) => ({ type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false, ...o });

// Each case: the model's vocabulary and options, the pipeline, the added tokens (their
// ids follow the vocabulary where it does not have them).
const cases = {
  gpt2: { model: byteBPE(), pre_tokenizer: byteLevel(), post_processor: byteLevel(), decoder: byteLevel({ add_prefix_space: true }), added: [special("<|endoftext|>")], lines: true },
  gpt2_prefix: { model: byteBPE(), pre_tokenizer: byteLevel({ add_prefix_space: true }), decoder: byteLevel(), added: [special("<|endoftext|>"), special("<mask>", { lstrip: true, rstrip: true }), special("fox", { special: false, single_word: true })] },
  llama3: { model: { ...byteBPE(), extra: ["Ġbegin", "ĠĠĠĠĠ", "Äpf"], ignore_merges: true }, pre_tokenizer: split(cl100k), post_processor: { type: "Sequence", processors: [byteLevel(), template(["<|begin_of_text|>"])] }, decoder: byteLevel({ add_prefix_space: true }), added: [special("<|begin_of_text|>"), special("<|end_of_text|>")] },
  qwen2: { model: byteBPE(), normalizer: { type: "NFC" }, pre_tokenizer: split(cl100k.replace("{1,3}", "")), post_processor: byteLevel(), decoder: byteLevel({ use_regex: false }), added: [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")] },
  llama2: { model: { ...spBPE(true), byte_fallback: true, fuse_unk: true, unk_token: "<unk>" }, normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, { type: "Replace", pattern: { String: " " }, content: "▁" }] }, post_processor: template(["<s>"]), decoder: llamaDecoder(), added: [special("<unk>"), special("<s>"), special("</s>"), special("word", { special: false, normalized: true })], lines: true },
  mistral: { model: { ...spBPE(true), byte_fallback: true, fuse_unk: true, unk_token: "<unk>", ignore_merges: false }, pre_tokenizer: metaspace(), post_processor: template(["<s>"], ["</s>"]), decoder: llamaDecoder(), added: [special("<unk>"), special("<s>"), special("</s>")] },
  metaspace: { model: { ...spBPE(false), unk_token: "<unk>", fuse_unk: false }, normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "Lowercase" }] }, pre_tokenizer: { type: "Sequence", pretokenizers: [metaspace({ prepend_scheme: "always", split: true }), { type: "Digits", individual_digits: true }] }, decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true }, added: [special("<unk>")] },
  fused: { model: { ...spBPE(false), unk_token: "<unk>", fuse_unk: true }, normalizer: { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "Lowercase" }, { type: "Strip", strip_left: true, strip_right: true }] }, pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Whitespace" }, { type: "Digits", individual_digits: false }] }, decoder: metaspace({ prepend_scheme: "never" }), added: [special("<unk>")] },
  gpt1: { model: { ...gptBPE(), unk_token: "<unk>", end_of_word_suffix: "</w>" }, normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true }, pre_tokenizer: { type: "BertPreTokenizer" }, decoder: { type: "BPEDecoder", suffix: "</w>" }, added: [special("<unk>")] },
};

mkdirSync(here, { recursive: true });
for (const [name, c] of Object.entries(cases)) {
  const { vocab, merges, extra, ...options } = c.model;
  const ids = {};
  for (const v of [...vocab, ...(extra ?? [])]) ids[v] = Object.keys(ids).length;
  let next = Object.keys(ids).length;
  const added = c.added.map((a) => ({ id: ids[a.content] ?? next++, ...a }));
  if (name !== "llama3") for (const a of added) ids[a.content] ??= a.id; // written both ways
  const post = JSON.parse(JSON.stringify(c.post_processor ?? null), (k, v) => k === "special_tokens" && Array.isArray(v)
    ? Object.fromEntries(v.map((t) => [t, { id: t, ids: [added.find((a) => a.content === t).id], tokens: [t] }])) : v);
  const file = { version: "1.0", truncation: null, padding: null, added_tokens: added.sort((a, b) => a.id - b.id), normalizer: c.normalizer ?? null, pre_tokenizer: c.pre_tokenizer ?? null, post_processor: post, decoder: c.decoder,
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, ...options, vocab: ids, merges: c.lines ? merges.map((m) => m.join(" ")) : merges } };
  const text = JSON.stringify(file);
  const tok = Tokenizer.fromString(text);
  const names = added.map((a) => a.content);
  const rows = [];
  for (const t of texts) {
    const e = await tok.encode(t, null, { addSpecialTokens: false });
    const w = await tok.encode(t, null, { addSpecialTokens: true });
    const row = { text: t, ids: e.getIds(), decoded: await tok.decode(e.getIds(), true) };
    if (added.some((a) => a.special && t.includes(a.content))) row.special = true; // special tokens were found in it
    const before = w.getIds().length - e.getIds().length;
    if (before > 0) row.around = w.getIds();
    rows.push(row);
  }
  writeFileSync(join(here, name + ".json"), text + "\n");
  writeFileSync(join(here, name + ".vectors.jsonl"), rows.map((r) => JSON.stringify(r)).join("\n") + "\n");
  console.log(name, Object.keys(ids).length, rows.length, names.join(" "));
}

// The words that each pattern makes, for cuts that do not show in ids.
const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const words = [];
for (const [name, Regex] of Object.entries({ gpt2, cl100k, qwen2: cl100k.replace("{1,3}", "") })) {
  const tok = Tokenizer.fromString(JSON.stringify({ version: "1.0", truncation: null, padding: null, added_tokens: [], normalizer: null, post_processor: null, decoder: null,
    pre_tokenizer: { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }, model: { type: "BPE", vocab: {}, merges: [] } }));
  for (const text of texts) words.push({ pattern: name, text, words: tok.getPreTokenizer().preTokenizeString(text).map((w) => w[0]) });
}
writeFileSync(join(here, "words.jsonl"), words.map((w) => JSON.stringify(w)).join("\n") + "\n");
