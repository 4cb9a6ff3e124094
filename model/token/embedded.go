package token

// Embedded gives a tokenizer that ships with the program by its name: "gpt2" or
// "cl100k_base".
func Embedded(name string) (Tokenizer, error) {
	switch name {
	case "gpt2":
		return GPT2(), nil
	case "cl100k_base":
		return CL100K(), nil
	}
	return nil, invalid("tokenizer", "%q is not known; there are gpt2 and cl100k_base", name)
}
