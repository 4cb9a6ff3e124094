package token

import "strings"

// wordEnd marks the last piece of a word in GPT-1's vocabulary.
const wordEnd = "</w>"

// isGPT1 says whether a vocabulary is of the kind of GPT-1's.
func isGPT1(vocab map[string]int32) bool {
	for name := range vocab {
		if strings.HasSuffix(name, wordEnd) {
			return true
		}
	}
	return false
}

// gpt1Spec describes the tokenizer of GPT-1 (Radford et al. 2018) for its vocab.json
// and merges.txt, as Hugging Face's OpenAIGPTTokenizer carries it out where ftfy and
// spaCy are not installed: BERT's clean-up, lower case without accents, words cut at
// white space and punctuation. OpenAI's own code mended mojibake with ftfy and cut
// words with spaCy's English rules ("don't" as "do n't"), so that its ids differ in
// such places.
func gpt1Spec(vocab map[string]int32) hfFile {
	f := hfFile{Version: "1.0",
		Normalizer:   &hfPart{Type: "BertNormalizer", CleanText: ptr(true), HandleChineseChars: ptr(true), Lowercase: ptr(true)},
		PreTokenizer: &hfPart{Type: "BertPreTokenizer"},
		Decoder:      &hfPart{Type: "BPEDecoder", Suffix: ptr(wordEnd)},
		Model:        hfModel{Type: "BPE", WordSuffix: ptr(wordEnd)},
	}
	if id, ok := vocab["<unk>"]; ok {
		f.Model.UnkToken = ptr("<unk>")
		f.AddedTokens = []hfAdded{{ID: id, Content: "<unk>", Special: true}}
	}
	return f
}
