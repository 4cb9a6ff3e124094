// Package train is the next-token objective, for pretraining and for supervised fine-tuning: one loss, another mask.
//
// Letters: B sequences, T tokens of one, y_t the token at position t, pi the model, M the targets of a sequence.
//
//	loss = -1/N sum_b sum_{t in M_b} log pi(y_t | y_<t),   N = number of tokens summed over
//
// # Targets
//
// In pretraining every token but the first is a target. In fine-tuning the assistant's turns are, each with what ends it:
// the first begins at the sequence's Start, and what lies between two of them is a Span to skip, whose log-probabilities get
// the gradient zero and do not enter the sum. What a person typed is read and never learned (InstructGPT, Ouyang et al. 2022,
// fine-tunes on demonstrations this way).
//
// # Batches
//
// Batches are ragged and filled up to a budget of tokens; nothing is padded, and attention does not reach from one document
// to another, so a document's log-probabilities are the same bits alone and among others. A batch of more tokens than fit one
// pass is taken in parts whose gradients add up.
//
// # Data
//
// Reading reads text, JSON lines and parquet, a row at a time, the first two also in gzip. All bounds hold before memory is
// taken: bytes of a row, decoded bytes of a file, at most 100 decoded bytes per compressed one, pages and values of parquet by
// their headers. All rows of a file are of one kind. A bad row is an error that names file, row and field, and nothing is
// trained on a file that has one; rows that are empty or longer than the context are left out and counted.
//
// # What repeats to the bit
//
// The order of the data is a function of (seed, epoch, position), the learning rate one of the step, what dropout drops one of
// (seed, step, number in the batch). The state is one file: trained tensors, moments, average, best weights, the evaluations'
// memory and the names of the steps that are kept. A run that is saved and loaded, however often and with any number of
// threads, ends with the bits of one that nobody disturbed.
//
// # Choices
//
// The average of the weights starts faster than its decay says, d' = min(d, (1+n)/(10+n)), so that the first weights are soon
// forgotten. Evaluation, kept steps and results are of the average where there is one. The result is what the last step left;
// the weights of the lowest held-out loss are kept beside it, not in its place. A loss or gradient that is not finite ends the
// run before the step. What a run takes of memory is counted beforehand from the model's own layout code, and refused where
// there is less.
//
// Worker makes runs of the database (pretrain.train, sft.train) of all this: data and starting model are folders in the blob
// store, named by digest in the run's row, and the result is a version with its parent.
package train
