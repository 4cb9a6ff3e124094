package train

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"

	"github.com/rankloop/rankloop/model"
)

// Memory is what a run takes at its peak, in bytes.
type Memory struct {
	model.Memory
	Kept int64 // the average and the best weights, in float32
	Data int64 // ids of the sequences
}

// Total adds them up.
func (m Memory) Total() int64 { return m.Memory.Total() + m.Kept + m.Data }

// String lists the parts in GB of 1e9 bytes.
func (m Memory) String() string {
	gb := func(n int64) string { return fmt.Sprintf("%.3g GB", float64(n)/1e9) }
	parts := []string{"weights " + gb(m.Weights), "gradients " + gb(m.Gradients), "moments " + gb(m.Moments), "activations " + gb(m.Activations)}
	if m.Kept > 0 {
		parts = append(parts, "average and best weights "+gb(m.Kept))
	}
	return gb(m.Total()) + ": " + strings.Join(append(parts, "data "+gb(m.Data)), ", ")
}

// Memory says what a run of this configuration takes for a shape and its data; nothing is allocated.
func (c Config) Memory(shape model.Config, train, valid Source) Memory {
	c = c.WithDefaults()
	all, longest := Tokens(train)
	more, other := Tokens(valid)
	longest = max(longest, other)
	plan := model.MemoryPlan{Tokens: max(longest, min(c.MicroTokens, c.BatchTokens)), Longest: longest, Train: true, BF16: c.Precision == BF16, Recompute: c.Recompute}
	if c.LoRA != nil {
		plan.LoRA = &model.LoRA{Rank: c.LoRA.Rank, Alpha: c.LoRA.Alpha, Targets: c.LoRA.Targets}
	}
	m := Memory{Memory: shape.Memory(plan), Data: 4 * int64(all+more)}
	copies := int64(0)
	if c.EMADecay > 0 {
		copies++
	}
	if c.KeepBest {
		copies++
	}
	m.Kept = copies * m.Gradients // as many numbers as there are gradients
	return m
}

// NoRoomError says that a run does not fit into the memory that there is.
type NoRoomError struct {
	Need   Memory
	Limit  int64
	Advice []string // what would make it smaller, with what it would take then
}

func (e *NoRoomError) Error() string {
	s := fmt.Sprintf("train: the run takes %v; there is room for %.3g GB", e.Need, float64(e.Limit)/1e9)
	if len(e.Advice) > 0 {
		s += "; it would take less with " + strings.Join(e.Advice, ", ")
	}
	return s
}

// Fits refuses, with a *NoRoomError, a run that takes more than limit bytes, and says what would help.
func (c Config) Fits(shape model.Config, train, valid Source, limit int64) error {
	need := c.Memory(shape, train, valid)
	if need.Total() <= limit {
		return nil
	}
	e := &NoRoomError{Need: need, Limit: limit}
	c = c.WithDefaults()
	c.Accumulate = 0
	_, longest := Tokens(train)
	for _, try := range []struct {
		name   string
		change func(c *Config)
	}{
		{"recompute", func(c *Config) { c.Recompute = true }},
		{fmt.Sprintf("micro_tokens %d", max(longest, 1)), func(c *Config) { c.MicroTokens = max(longest, 1) }},
		{"precision bf16", func(c *Config) { c.Precision = BF16 }},
		{"lora of rank 8", func(c *Config) { c.LoRA = &LoRA{Rank: 8} }},
		{"all of these", func(c *Config) {
			c.Recompute, c.MicroTokens, c.Precision = true, max(longest, 1), BF16
			if c.LoRA == nil {
				c.LoRA = &LoRA{Rank: 8}
			}
		}},
	} {
		other := c
		try.change(&other)
		if n := other.Memory(shape, train, valid).Total(); n < need.Total() {
			e.Advice = append(e.Advice, fmt.Sprintf("%s (%.3g GB)", try.name, float64(n)/1e9))
		}
	}
	return e
}

// Held returns the bytes of memory that this process has of its own, without what is mapped from files: what the system says, and where it
// does not, what Go holds.
func Held() int64 { return held("/") }

func held(root string) int64 {
	if n, found := field(filepath.Join(root, "proc/self/status"), "RssAnon:"); found {
		return n << 10
	}
	x := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(x)
	return int64(x[0].Value.Uint64() - x[1].Value.Uint64())
}

// Available returns the bytes of memory that this process may still take: what the kernel says is available, and what the
// control groups it is in leave; false where the system does not say.
func Available() (bytes int64, ok bool) { return available("/") }

func available(root string) (free int64, ok bool) {
	least := func(n int64) {
		if !ok || n < free {
			free, ok = max(n, 0), true
		}
	}
	if n, found := field(filepath.Join(root, "proc/meminfo"), "MemAvailable:"); found {
		least(n << 10)
	}
	group := "/"
	if b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup")); err == nil {
		for line := range strings.Lines(string(b)) {
			if path, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
				group = path
			}
		}
	}
	for ; ; group = filepath.Dir(group) { // a group has no more than those above it
		dir := filepath.Join(root, "sys/fs/cgroup", group)
		limit, found := number(filepath.Join(dir, "memory.max"))
		used, found2 := number(filepath.Join(dir, "memory.current"))
		if found && found2 {
			cache, _ := field(filepath.Join(dir, "memory.stat"), "inactive_file") // given back when it is needed
			least(limit - used + cache)
		}
		if group == "/" || group == "." {
			break
		}
	}
	return free, ok
}

// number reads a file that holds one number.
func number(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// field reads the number behind a name at the start of a line.
func field(path, name string) (int64, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if words := strings.Fields(sc.Text()); len(words) >= 2 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
