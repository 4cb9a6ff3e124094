// Package checkpoint keeps models on disk: Hugging Face folders, the state of
// trainers, and a store of folders by content.
//
// # The folder
//
//	config.json               openai-gpt, gpt2, gpt3, llama or qwen2, fields as in transformers
//	model.safetensors         or model.safetensors.index.json and its files; F32, F16, BF16
//	generation_config.json    ids of BOS and EOS
//	tokenizer.json | vocab.json, merges.txt | tokenizer.model, tokenizer_config.json
//	rankloop.json             the [Card]: kind, parents, data snapshot, metrics, normalisation
//	SHA256SUMS                all of the above; `sha256sum -c` reads it
//
// A reward model carries score.weight [1,C] (and score.bias [1]), a critic
// value.weight (and value.bias). Names of tensors are read with and without the
// prefix "transformer." or "model."; they are written as transformers writes them for
// a model with a head.
//
// # The safetensors format, as read here
//
// 8 bytes little-endian: length of the header; a JSON object name -> {dtype, shape,
// data_offsets} with an optional __metadata__ of strings; the data. Refused: a header
// over 1 MiB or longer than the file, that is not UTF-8, does not begin with "{", goes
// on after its object, or names anything twice; over 4,096 tensors, over 8
// dimensions, keys and types that are not known, negative or broken numbers, a
// product of dimensions that overflows, offsets that do not hold exactly the shape,
// that overlap or leave a hole, data that is shorter or longer than the tensors.
// Memory is allocated only after all of that has been checked against the length of
// the file. Weights that are not finite are refused when a model is loaded or saved;
// other files may hold them.
//
// # Durability
//
// Content goes to a temporary name in the same folder, is fsynced, renamed, and the
// folder is fsynced: after a crash there is the old or the new, never half of either.
// What a crash leaves behind begins with ".tmp-"; [Sweep] removes it after an hour.
//
// # Decisions
//
// One list of sums per folder rather than a checksum inside each file: the files stay
// those of Hugging Face, and a single flipped bit in any of them is found. A folder
// without a list (made elsewhere) loads too, checked only by its format.
//
// The digest of a folder is the SHA-256 of that list, so it depends on names and
// content, not on times.
//
// Load follows symbolic links, because Hugging Face's cache is made of them; names of
// files that an index gives must be plain names. The store never does: digests are
// hex digits, and folders with anything but regular files are refused.
//
// Sources: safetensors' README (format); huggingface/transformers, configuration_gpt2
// and configuration_llama (names and defaults); the order write, fsync, rename,
// directory fsync as in LWN's "Ensuring data reaches disk" (2011).
package checkpoint
