// Package token turns text into token ids and back.
//
// # Kinds
//
//   - Byte-level BPE, as in GPT-2 (Radford et al. 2019, section 2.2; Sennrich et al.
//     2016 for BPE): [GPT2] with the vocabulary embedded, [Train] for a vocabulary
//     learned here, [Load] for tokenizer.json or vocab.json with merges.txt.
//   - SentencePiece BPE, as in Llama (Kudo and Richardson 2018): [Load] for
//     tokenizer.model.
//
// # Decisions
//
// Text never becomes a control token: Encode reads "<|endoftext|>" as the ordinary
// characters it consists of. Whoever composes trusted text with special tokens in it
// calls [EncodeSpecial]. Special tokens have no text of their own: Decode and
// [Stream] leave them out, so that no reader is shown "<|endoftext|>".
//
// Merging uses a linked list and a heap, O(n log n) in the length of a word, so that
// a megabyte of one character costs no more than a megabyte of prose. The order is
// the reference's: lowest merge rank first, leftmost first among equals.
//
// GPT-2's pattern is matched by code: Go's \s is ASCII only, and its regular
// expressions have no look-ahead. White space is Unicode's White_Space property, as
// in OpenAI's tiktoken: with U+0085, without U+FEFF.
//
// SentencePiece: white space is kept as it is (remove_extra_whitespaces is not
// carried out), and each unknown character gives one <unk>, as in llama2.c and, for
// the first, in Hugging Face's fast Llama tokenizer. Only what these models use is
// read: BPE, identity normalisation, no user-defined symbols; the rest is refused
// rather than tokenised differently from its maker.
//
// Files are read within limits (see limits.go) and refused with an [InvalidError]
// that names the field.
//
// Chat templates are fixed functions, see [Chat]; no template language is run.
package token
