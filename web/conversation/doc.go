// Package conversation keeps what people say at the chat page. A conversation is a tree of turns: an edited question, an
// answer given anew and the two answers of a comparison are branches beside each other, and nothing that was said is
// overwritten. Its leaf is the end of the branch that is open. Everything belongs to one person, and is found by nobody
// else, but for a branch that was shared: whoever has the link may read that, until it is revoked.
//
// Whether what is said may be used for training stands with each conversation, and is off unless its owner turns it on. What
// follows from that is other rooms' business: this one knows no model and no labels.
package conversation
