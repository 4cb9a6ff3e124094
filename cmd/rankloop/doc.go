// Command rankloop is the only binary: a labeling and reward-training platform that turns people's rankings into a better
// language model, and does it again.
//
// This package holds flags, configuration and wiring; each command is a file. Rooms that must meet (a submitted ranking
// that moves a round on, a customer's prompt that joins the labeling pool, a promoted policy that serves) are joined
// here, in wire.go, and nowhere else.
package main
