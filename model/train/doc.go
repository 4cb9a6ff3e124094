// Package train is the next-token objective, for pretraining and for supervised fine-tuning: one loss, another mask.
//
// Letters: B sequences, T tokens of one, y_t the token at position t, pi the model.
//
//	loss = -1/N sum_b sum_{t >= start_b} log pi(y_t | y_<t),   N = number of tokens summed over
//
// Pretraining starts at 1 (every token but the first is a target), fine-tuning at the first token of the response: the
// targets inside the prompt are not looked at, so changing them leaves loss and gradients equal to the bit.
//
// Batches are ragged and filled up to a budget of tokens; nothing is padded. The order of the data is a function of
// (seed, epoch, position), the learning rate one of the step: a run that is saved and loaded continues bit for bit.
package train
