// Package setting keeps what an admin may change while the program runs: numbers by name, each with a default, bounds and an
// explanation, and every change of one with who, when, why and what it was before.
package setting
