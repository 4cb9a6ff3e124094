// Package health says how an installation is: what is well, what needs looking at, what endangers data, each with what to do.
//
// Sources.Look is the one place that looks; the page, its JSON, the metrics and the command doctor show what it found. It reads
// the settings and the size of Postgres and the tables of River itself, and asks the other rooms by functions that it is given.
package health
