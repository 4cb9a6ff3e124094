package eval

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// arithmetic is section 3.9.1 of the GPT-3 paper, in the format of its figures G.42 to G.48: numbers are drawn uniformly from
// [0, 10^digits), and differences may be negative. One digit is added to the paper's two to five.
var arithmetic = func() []Task {
	task := func(name, title string, draw func(*rand.Rand) (string, int)) Task {
		return Task{Name: name, Title: title, Paper: "GPT-3, 3.9.1", Rule: Exact, Separator: "\n\n",
			Draw: func(rng *rand.Rand, _ *Text) func() (Item, bool) {
				return func() (Item, bool) {
					q, a := draw(rng)
					return Item{Prompt: "Q: What is " + q + "?\nA:", Answer: " " + strconv.Itoa(a)}, true
				}
			}}
	}
	var out []Task
	limit := 1
	for digits := 1; digits <= 5; digits++ {
		limit *= 10
		below, size := limit, fmt.Sprintf("up to %d digits", digits)
		if digits == 1 {
			size = "1 digit"
		}
		out = append(out,
			task(fmt.Sprintf("addition-%d", digits), "sums of numbers of "+size, func(rng *rand.Rand) (string, int) {
				a, b := rng.IntN(below), rng.IntN(below)
				return fmt.Sprintf("%d plus %d", a, b), a + b
			}),
			task(fmt.Sprintf("subtraction-%d", digits), "differences of numbers of "+size, func(rng *rand.Rand) (string, int) {
				a, b := rng.IntN(below), rng.IntN(below)
				return fmt.Sprintf("%d minus %d", a, b), a - b
			}))
	}
	return append(out,
		task("multiplication-2", "products of numbers of up to 2 digits", func(rng *rand.Rand) (string, int) {
			a, b := rng.IntN(100), rng.IntN(100)
			return fmt.Sprintf("%d times %d", a, b), a * b
		}),
		task("composite-1", "two operations on three numbers of 1 digit, such as 6+(4*8)", func(rng *rand.Rand) (string, int) {
			a, b, c := rng.IntN(10), rng.IntN(10), rng.IntN(10)
			x, y := "+-*"[rng.IntN(3)], "+-*"[rng.IntN(3)]
			return fmt.Sprintf("%d%c(%d%c%d)", a, x, b, y, c), apply(x, a, apply(y, b, c))
		}))
}()

func apply(op byte, a, b int) int {
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	}
	return a * b
}
