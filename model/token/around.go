package token

// Around gives the special tokens that the tokenizer's maker puts before and behind a
// text, such as <s> in Llama.
func Around(t Tokenizer) (before, after []int32) {
	switch t := t.(type) {
	case *bpe:
		return t.around[0], t.around[1]
	case *sentencePiece:
		if t.bos >= 0 {
			return []int32{t.bos}, nil
		}
	}
	return nil, nil
}

// newAround reads a post_processor; ids are the added tokens.
func newAround(p *hfPart, ids map[string]int32) (around [2][]int32, err error) {
	switch {
	case p == nil || p.Type == "ByteLevel": // the latter is about offsets
		return around, nil
	case p.Type == "Sequence":
		for i := range p.Processors {
			part, err := newAround(&p.Processors[i], ids)
			if err != nil {
				return around, err
			}
			around[0] = append(part[0], around[0]...)
			around[1] = append(around[1], part[1]...)
		}
		return around, nil
	case p.Type != "TemplateProcessing":
		return around, unsupported("post_processor", "%q", p.Type)
	}
	side := 0
	for _, x := range p.Single {
		switch {
		case x.Sequence != nil && x.SpecialToken == nil && side == 0:
			side = 1
		case x.SpecialToken != nil && x.Sequence == nil:
			id, ok := ids[x.SpecialToken.ID]
			if !ok {
				return around, invalid("post_processor", "%q is not an added token", x.SpecialToken.ID)
			}
			around[side] = append(around[side], id)
		default:
			return around, unsupported("post_processor", "a template that is not special tokens around one text")
		}
	}
	if side == 0 {
		return around, unsupported("post_processor", "a template without the text")
	}
	return around, nil
}
