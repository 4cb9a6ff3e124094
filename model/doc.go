// Package model holds the transformer families: whole-sequence Forward and
// Backward over ragged batches, the AdamW optimizer, and decoding with a cache
// of keys and values. Shapes, layout, fusing and threading stay inside.
//
// # The seam
//
// Objectives (pretraining, SFT, reward, PPO, DPO ...) never see logits. A [Pass]
// says what the model thinks of the response tokens of each [Sequence]: their
// log-probabilities, the values of the states they were drawn in, the entropy of
// the distribution they were drawn from, and the score of the whole sequence. An
// objective is a function from those numbers to their gradients ([Grads]), and
// one [Pass.Backward] serves them all. The split follows query_response_model.py
// of OpenAI's summarize-from-feedback: one transformer with named scalar heads.
//
// # Families
//
// A family is a file family_<name>.go, which opens with its paper and its differences
// from the one before, and a row of the table in families.go; a Config names its row.
//
//	gpt1   Radford et al. 2018: norms after each residual sum, none at the end
//	gpt2   Radford et al. 2019: norms inside the residual branches
//	gpt3   Brown et al. 2020: every other layer locally banded, Window positions wide
//	llama  Touvron et al. 2023: RMSNorm, rotary positions, SwiGLU, grouped queries; with biases it is Qwen2
//
// The published shapes have names ([Preset]). How a family stands in config.json and in
// files of weights is package checkpoint's table of kinds.
//
// # Letters
//
//	N   packed tokens of a batch: all sequences one after the other, no padding
//	R   rows at which a head is read (response positions), R <= N
//	T   tokens of one sequence
//	C   Width, channels of the residual stream
//	H   query heads; KV key/value heads (H is a multiple); D = C/H head width
//	F   Hidden, channels inside the MLP
//	V   Vocab
//	L   Layers
//	r   Rank of adapters
//
// All matrices are row-major float32; those of weights may be held in BF16 ([Transformer.ToBF16]),
// and of a model that is only read in panels ([Transformer.Pack]).
//
// # Decisions
//
// Ragged, not padded: the matrix products run over the packed rows of all
// sequences at once; only attention looks at sequence borders. A sequence gives
// the same bits alone as in any batch, because each product element is one chain
// of fused multiply-adds over the inner dimension (package kernel) and all else
// works row by row. For the same reason decoding with a cache ([Transformer.Extend])
// gives the same bits as the whole sequence at once, so log-probabilities recorded
// while sampling are the ones that training sees.
//
// The order of every sum is a function of the batch, never of the number of
// threads: gradients of embeddings add up in token order, those of norm weights in
// fixed groups of rows, those of matrices in one chain over the rows.
//
// Threads take spans of whole sequences, some hundred rows each, through all layers:
// their activations stay in a core's cache and there are few barriers. A model whose
// layers fill the cache by themselves splits each product instead. Activations lie in
// one arena that the next pass reuses.
//
// The last token of a sequence is not fed where only its own probability is asked
// for, so a sequence may hold Context+1 tokens then.
//
// Precision: everything is float32 but where mixed precision is chosen ([Transformer.SetMixed]):
// then products round both factors to bfloat16. The matrices of a BF16 model are kept in
// bfloat16 and widened block by block where they are used; it computes the bits of the
// float32 model with the same, rounded weights. AdamW keeps float32 moments for them and
// rounds stochastically, since steps below half a unit in the last place would be lost otherwise.
// A model packed in bfloat16 has the bits of mixed precision, so that what is sampled from
// it is what training sees.
//
// Rows that nobody reads leave the last layer behind its attention, forward and back: with
// responses after prompts, or scores at the last token, that is most of it.
//
// A loss whose gradient is known beforehand, as that of the next token, goes through the
// heads forward and back at once ([Transformer.ForwardLoss]): logits exist for some hundred
// rows at a time and are computed once.
//
// Adapters hang on the matrix they adapt (Param), so every family has them by its linear
// layers alone, and keep a chain of sums of their own. What is frozen gets neither
// gradient nor moments, and its gradient's product is not computed.
//
// Recomputation keeps the input of each layer and runs the layer again on the way back.
// Since every pass gives the same bits, so does it; the only randomness, dropout's masks,
// is a function of (seed, Sequence.Stream, layer, place, position, channel), never a
// generator that moves on, and so independent of batch, threads and micro-batches too.
//
// A shape can be measured without making it: [Config.NumParams], [Config.FLOPs] and
// [Config.Memory] allocate nothing, so GPT-3 175B takes milliseconds.
//
// # How it is known to be right
//
// TestReference compares logits, log-probabilities, entropies, all gradients, three
// AdamW steps and greedy continuations of every family with float64 PyTorch: the cases
// of fixtures, and those of testdata/reference, made by the gen.py beside them, for
// what the fixtures do not cover (bands, rotary scaling, biases). TestMutants builds mistakes in,
// one at a time, and demands that TestReference notices each. The tests of properties hold the
// bits: one by one and in a batch, with a cache and without, with any number of threads.
//
// # Sources
//
// Transformer: Vaswani et al. 2017. GPT: Radford et al. 2018. GPT-2: Radford et al.
// 2019; initialisation N(0, 0.02), residual projections scaled by 1/sqrt(2L). GPT-3:
// Brown et al. 2020, bands as in Child et al. 2019 and GPT-Neo (Black et al. 2021).
// Llama: Touvron et al. 2023; RMSNorm (Zhang and Sennrich 2019), rotary positions in the
// half-split layout of Hugging Face (Su et al. 2021), their scaling (Chen et al. 2023;
// Llama 3.1, 2024, as modeling_rope_utils.py of transformers has it), SwiGLU (Shazeer
// 2020), grouped queries (Ainslie et al. 2023), one key/value head (Shazeer 2019). Biases:
// Qwen2, Yang et al. 2024. AdamW: Loshchilov and Hutter 2019. Adapters: LoRA, Hu et al.
// 2021, their start as in PEFT. Dropout: Srivastava et al. 2014. Recomputation: Chen et
// al. 2016. Stochastic rounding: Gupta et al. 2015. Mixed precision: Micikevicius
// et al. 2018, with bfloat16 Kalamkar et al. 2019. Operations per token: Hoffmann et al.
// 2022, appendix F. Scalar heads start at N(0, 1/sqrt(C+1)) as in Stiennon et al. 2020.
package model
