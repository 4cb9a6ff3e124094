package token

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// hfFile is tokenizer.json of Hugging Face's tokenizers library.
type hfFile struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"` // this and padding are the caller's
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []hfAdded       `json:"added_tokens"`
	Normalizer    *hfPart         `json:"normalizer"`
	PreTokenizer  *hfPart         `json:"pre_tokenizer"`
	PostProcessor *hfPart         `json:"post_processor"`
	Decoder       *hfPart         `json:"decoder"`
	Model         hfModel         `json:"model"`
}

// hfAdded is a token outside the model. It is found in a text where it stands by
// itself (SingleWord) or anywhere, takes the white space beside it in (LStrip,
// RStrip), and is looked for after normalisation or before.
type hfAdded struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// hfPart is a step of a pipeline: its type, and what the types that are supported are
// told. nil is the library's default.
type hfPart struct {
	Type string `json:"type"`

	Normalizers   []hfPart `json:"normalizers,omitempty"` // of a Sequence
	PreTokenizers []hfPart `json:"pretokenizers,omitempty"`
	Processors    []hfPart `json:"processors,omitempty"`
	Decoders      []hfPart `json:"decoders,omitempty"`

	Prepend            *string    `json:"prepend,omitempty"` // Prepend
	Pattern            *hfPattern `json:"pattern,omitempty"` // Replace, Split
	Content            *string    `json:"content,omitempty"` // Replace, Strip
	Start              *int       `json:"start,omitempty"`   // Strip of a decoder
	Stop               *int       `json:"stop,omitempty"`
	StripLeft          *bool      `json:"strip_left,omitempty"` // Strip of a normalizer
	StripRight         *bool      `json:"strip_right,omitempty"`
	CleanText          *bool      `json:"clean_text,omitempty"` // BertNormalizer
	HandleChineseChars *bool      `json:"handle_chinese_chars,omitempty"`
	StripAccents       *bool      `json:"strip_accents,omitempty"`
	Lowercase          *bool      `json:"lowercase,omitempty"`
	Behavior           string     `json:"behavior,omitempty"` // Split
	Invert             *bool      `json:"invert,omitempty"`
	Replacement        *string    `json:"replacement,omitempty"` // Metaspace
	StrRep             *string    `json:"str_rep,omitempty"`     // the same in older files
	PrependScheme      *string    `json:"prepend_scheme,omitempty"`
	Split              *bool      `json:"split,omitempty"`
	IndividualDigits   *bool      `json:"individual_digits,omitempty"` // Digits
	AddPrefixSpace     *bool      `json:"add_prefix_space,omitempty"`  // ByteLevel, Metaspace of older files
	TrimOffsets        *bool      `json:"trim_offsets,omitempty"`      // ByteLevel
	UseRegex           *bool      `json:"use_regex,omitempty"`
	Suffix             *string    `json:"suffix,omitempty"` // BPEDecoder

	Single        []hfTemplate    `json:"single,omitempty"` // TemplateProcessing
	Pair          json.RawMessage `json:"pair,omitempty"`
	SpecialTokens json.RawMessage `json:"special_tokens,omitempty"`
}

// or is what p points to, or else.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

type hfPattern struct {
	String *string `json:"String,omitempty"`
	Regex  *string `json:"Regex,omitempty"`
}

type hfTemplate struct {
	SpecialToken *hfTemplatePart `json:"SpecialToken,omitempty"`
	Sequence     *hfTemplatePart `json:"Sequence,omitempty"`
}

type hfTemplatePart struct {
	ID     string `json:"id"`
	TypeID int    `json:"type_id"`
}

type hfModel struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	UnkToken     *string         `json:"unk_token"`
	SubPrefix    *string         `json:"continuing_subword_prefix"`
	WordSuffix   *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       []hfMerge       `json:"merges"`
}

// hfMerge is ["a","b"], or "a b" in older files.
type hfMerge [2]string

func (m *hfMerge) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte("[")) {
		var pair []string
		if err := json.Unmarshal(b, &pair); err != nil {
			return err
		}
		if len(pair) != 2 {
			return fmt.Errorf("merge of %d tokens", len(pair))
		}
		*m = hfMerge{pair[0], pair[1]}
		return nil
	}
	var line string
	if err := json.Unmarshal(b, &line); err != nil {
		return err
	}
	pair, err := mergeLine(line)
	*m = pair
	return err
}

func ptr[T any](v T) *T { return &v }

// byteLevelSpec describes a byte-level BPE with GPT-2's pattern.
func byteLevelSpec(added ...hfAdded) hfFile {
	step := hfPart{Type: "ByteLevel", AddPrefixSpace: ptr(false), TrimOffsets: ptr(true), UseRegex: ptr(true)}
	decoder := step
	decoder.AddPrefixSpace = ptr(true)
	return hfFile{Version: "1.0", AddedTokens: added, PreTokenizer: &step, PostProcessor: &step, Decoder: &decoder,
		Model: hfModel{Type: "BPE"}}
}

// byteLevelSplitSpec is byteLevelSpec with the pattern of a regular expression, which
// must be one of knownPatterns.
func byteLevelSplitSpec(regex string, added ...hfAdded) hfFile {
	f := byteLevelSpec(added...)
	f.PreTokenizer = &hfPart{Type: "Sequence", PreTokenizers: []hfPart{
		{Type: "Split", Pattern: &hfPattern{Regex: &regex}, Behavior: "Isolated", Invert: ptr(false)},
		{Type: "ByteLevel", AddPrefixSpace: ptr(false), TrimOffsets: ptr(true), UseRegex: ptr(false)}}}
	return f
}

// plain says whether the file describes no more than byteLevelSpec does.
func (f *hfFile) plain() bool {
	p := f.PreTokenizer
	if f.Normalizer != nil || p == nil || p.Type != "ByteLevel" || or(p.AddPrefixSpace, true) || !or(p.UseRegex, true) || f.Model.IgnoreMerges {
		return false
	}
	for _, a := range f.AddedTokens {
		if a.SingleWord || a.LStrip || a.RStrip {
			return false
		}
	}
	return true
}
