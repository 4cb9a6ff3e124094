package web

import "strings"

// diffLine is a line of two texts side by side in one: Op is ' ' where both have it, '-' where only the first, '+' where
// only the second.
type diffLine struct {
	Op   string
	Text string
}

// diffLines compares two texts line by line: a longest common subsequence, found by the table of Wagner and Fischer 1974
// over what differs between the common beginning and end. Texts are at most maxDiff lines there; longer ones are shown
// as one block taken out and one put in.
func diffLines(from, to string) []diffLine {
	a, b := strings.Split(from, "\n"), strings.Split(to, "\n")
	var out []diffLine
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		out = append(out, diffLine{" ", a[head]})
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	end := a[len(a)-tail:]
	a, b = a[head:len(a)-tail], b[head:len(b)-tail]
	i, j := 0, 0
	if len(a) <= maxDiff && len(b) <= maxDiff {
		common := commonLengths(a, b)
		for i < len(a) && j < len(b) {
			switch {
			case a[i] == b[j]:
				out = append(out, diffLine{" ", a[i]})
				i, j = i+1, j+1
			case common[i+1][j] >= common[i][j+1]:
				out = append(out, diffLine{"-", a[i]})
				i++
			default:
				out = append(out, diffLine{"+", b[j]})
				j++
			}
		}
	}
	for ; i < len(a); i++ {
		out = append(out, diffLine{"-", a[i]})
	}
	for ; j < len(b); j++ {
		out = append(out, diffLine{"+", b[j]})
	}
	for _, line := range end {
		out = append(out, diffLine{" ", line})
	}
	return out
}

const maxDiff = 1000 // lines; the table has a million entries then

// commonLengths[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
func commonLengths(a, b []string) [][]int32 {
	table := make([][]int32, len(a)+1)
	for i := range table {
		table[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}
