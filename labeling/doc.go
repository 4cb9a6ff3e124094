// Package labeling turns prompts and sampled answers into rankings that a
// reward model can learn from.
//
// # Job
//
// It owns projects and their guidelines, prompts with origin and consent,
// responses, ranking tasks and their leases, rankings (append-only revisions)
// with the comparisons, ratings and flags that belong to them, snapshots, the
// agreement between labelers, and the codecs of preference files. It knows text
// and token ids only, never a model.
//
// # Letters
//
//	K   answers of one task (2 to 9)
//	N   rankings, or units, as the function says
//	V   distinct values of a rating scale
//
// # Decisions
//
// Ranks are competition ranks, 1 = best, ties share the better number and the
// next number is skipped: 1, 2, 2, 4. They are stored in the order in which the
// task stores its responses; a labeler sees the responses in the order of the
// assignment, a shuffle derived from the assignment's id and stored with it.
//
// A claim is one statement: pick with FOR UPDATE SKIP LOCKED, insert the
// assignment with ON CONFLICT on (task, labeler), take the slot from what the
// insert returned. A task's lock guards the states of its assignments; locks are taken
// in the order task, labeler everywhere, so that acts do not wait for each other in a
// circle. A statement
// that finds nothing while rows are locked by others does not mean an empty
// queue: the last attempt waits for the locks instead of skipping them.
//
// The labeler's watermark (the queue position of the last claim that was submitted) keeps a claim
// from walking past everything that labeler has done; it is dropped when nothing
// lies behind it, and once in ten minutes, because a task skipped under a lock
// may lie before it. A slot that opens again moves its task to the end of the
// queue, behind every watermark.
//
// Counters of a task: need = open_slots + live leases + done, at every commit.
// A submit after the lease's end takes an open slot if there is one; if there is
// none the ranking is kept as surplus: stored, shown, left out of snapshots.
//
// Reopening (undo) changes no counter: the ranking that was acknowledged stands
// until the next revision is submitted, so that a tab closed in the middle of an
// undo loses nothing.
//
// A customer's prompts all lie in one split. Customers are dealt to the splits
// systematically in the order of their arrival (one in 1/share, the offset drawn
// from the project's id) and not by an independent hash each: with eight
// customers and a share of 1/8 a hash leaves the validation split empty in one
// project of three, dealing never does. Prompts without a customer are split by
// the hash of their own text.
//
// Labelers, customers and API keys are other rooms' business: their ids are text
// here, because imported rankings bring names that are no accounts.
//
// # Feedback
//
// An answered request of a customer who consents is kept for FeedbackDays, redacted, with all
// its answers (JoinPool). What the customer then says of it (AddFeedback) makes a task of
// those very answers, in a batch of its own ("feedback:" and the kept row's id), so that there
// is one however often it is spoken of. A preference is a ranking by "customer:ID" in a slot
// beside the labelers': it counts in snapshots, and is neither judged nor paid. A correction is
// a demonstration. Consent hides and shows all of it with the prompts; erasure by completion, by
// the customer's own user or by source (PartOf) takes the tasks, since they show the answers.
//
// # Data in and out
//
// A format is a file with its parse and encode functions and a row in the table formats.
// An import is staged by COPY and settled in sets (store_import.go, store_settle.go):
// redacted, compared with what is there, dealt to the splits, written. A snapshot is
// exported a few tasks at a time, so that memory does not grow with it. Events wait in an
// outbox that is written in the transaction of the act. An erasure is the only thing that
// takes rows from append-only tables, and must be recorded in its own transaction.
//
// Personal data is taken out before text is hashed or stored, so that what is served,
// compared and learned from is one and the same.
//
// # Sources
//
// K answers ranked with ties and all pairs of one prompt in one batch element:
// Ouyang et al. 2022 (InstructGPT), section 3.5 and appendix B. Krippendorff
// 2011, "Computing Krippendorff's alpha-reliability". Kendall 1945 (tau-b, W).
// Fleiss 1971, Cohen 1960 and 1968. Bradley and Terry 1952, fitted as Hunter
// 2004. Wilson 1927 with the design effect of Kish 1965.
package labeling
