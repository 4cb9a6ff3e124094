// Package token turns text into token ids and back.
//
// # Kinds
//
//   - Byte-level BPE, as in GPT-2 (Radford et al. 2019, section 2.2; Sennrich et al.
//     2016 for BPE): [GPT2] and [CL100K] with the vocabulary embedded, [Train] for a
//     vocabulary learned here, [Load] for tokenizer.json or vocab.json with merges.txt.
//   - Character-level BPE of tokenizer.json: Llama 1 and 2, Mistral (byte fallback).
//   - GPT-1's BPE (Radford et al. 2018): vocab.json with merges.txt whose words end in
//     </w>, or the same as tokenizer.json. Decoding is lossy by its nature: the text is
//     in lower case, without accents, with one space between words and punctuation.
//   - SentencePiece BPE, as in Llama (Kudo and Richardson 2018): [Load] for
//     tokenizer.model.
//
// # Rooms
//
// tokenizer.json is the description that all BPE but SentencePiece's is built from
// (hfjson.go): added tokens (added.go), normalizer (normalize.go), pre_tokenizer
// (pretokenize.go, pattern.go), model (bpe.go, chars.go, merge.go), decoder
// (display.go), post_processor (around.go). What it says and this package does not
// carry out is refused by name, rather than tokenised differently from its maker.
// testdata/hf holds ids of Hugging Face's own library, which the tests compare with.
//
// # Decisions
//
// Text never becomes a control token: Encode reads "<|endoftext|>" as the ordinary
// characters it consists of. Whoever composes trusted text with special tokens in it
// calls [EncodeSpecial]. Special tokens have no text of their own: Decode and
// [Stream] leave them out, so that no reader is shown "<|endoftext|>".
//
// Chat templates are fixed functions, see [Chat]; no template language is run. They
// write [Piece]s, of which only their own can be special tokens; [PromptIDs] is what a
// model reads and [ConversationIDs] what it is trained on, the same ids. Markers that
// are ordinary text (plain, hh, llama2) are guarded by a space where they are typed.
//
// Words of up to 24 units merge by looking for the best pair anew each time, longer
// ones with a linked list and sorted candidates, O(n log n), so that a megabyte of one
// character takes well under a second. The order is the reference's: lowest merge rank
// first, leftmost first among equals. Short words are remembered with their ids in a
// cache of fixed size that goroutines share without a lock. _bench, a module of its
// own, compares the speed with tiktoken-go.
//
// Patterns are matched by code: Go's \s is ASCII only, and its regular expressions
// have no look-ahead. White space is Unicode's White_Space property, as in OpenAI's
// tiktoken: with U+0085, without U+FEFF. Where case does not count in cl100k's
// contractions, the long s (U+017F) is an s.
//
// cl100k_base is kept as merges; tiktoken takes a word that is a token before it
// merges, which comes to the same, as a test shows for every token.
//
// Bytes that are not UTF-8 decode to one U+FFFD for each longest start of a sequence,
// so that a stream and a whole text agree; Hugging Face's ByteFallback gives one for
// each byte of a run with a mistake in it. Its Metaspace decoder takes all spaces off
// a first token that is nothing but spaces; here it is one.
//
// SentencePiece: white space is kept as it is (remove_extra_whitespaces is not
// carried out), and each unknown character gives one <unk>, as in llama2.c and, for
// the first, in Hugging Face's fast Llama tokenizer. Only what these models use is
// read: BPE, identity normalisation, no user-defined symbols; the rest is refused.
//
// BOS and EOS are what tokenizer_config.json names (null: none), else what the
// post_processor puts around a text, else tokens with one of the usual names.
//
// Files are read within limits (see limits.go) and refused with an [InvalidError]
// that names the field.
package token
