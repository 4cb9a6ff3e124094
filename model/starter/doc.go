// Package starter is the small model that ships in the binary: a decoder of about half a million weights, as pretrained
// (Base) and as fine-tuned on demonstrations (SFT), and the recipe that makes it.
//
// The recipe is rankloop's own: texts of the starter world (labeling/simulate) -> byte-level BPE -> pretraining ->
// fine-tuning on the world's demonstrations in the chat template "plain". This package knows only texts; the world is
// handed in. The weights under weights/ are Hugging Face folders in BF16; card.md is the model card. They are made by
//
//	go run ./model/starter/_gen
//
// which also prints the report that the card quotes.
//
// Decisions. Fine-tuning starts from the weights as they were stored (rounded to BF16), so that the parent named in
// the SFT model's card is the file that ships. Texts of the corpus hold instructions, but never one with its answer: what
// Base does with an instruction is to go on as the corpus would.
package starter
