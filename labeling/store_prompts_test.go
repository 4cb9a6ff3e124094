package labeling

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func api(customer, text string, consent bool) NewPrompt {
	return NewPrompt{Messages: []Message{{Role: "user", Content: text}}, Origin: OriginAPI, CustomerID: customer, APIKeyID: customer + "-key", Consent: consent}
}

func TestPromptIsAddedOnce(t *testing.T) {
	b := setup(t)
	p, created, err := b.add(api("ada", "Why is the sky blue?", true))
	b.ok(err)
	if !created || !p.Usable || p.Origin != OriginAPI || *p.CustomerID != "ada" || *p.APIKeyID != "ada-key" || p.Text != "Why is the sky blue?" {
		t.Errorf("added %+v", p)
	}
	for _, n := range []NewPrompt{api("ada", "Why  is the sky\n blue? ", true), api("bob", "Why is the sky blue?", true),
		{Text: "Why is the sky blue?", Origin: OriginImport}} {
		q, created, err := b.add(n)
		b.ok(err)
		if created || q.ID != p.ID || *q.CustomerID != "ada" {
			t.Errorf("added again: %+v", q)
		}
	}
	if n := b.count(`SELECT count(*) FROM prompt_sources`); n != 3 {
		t.Errorf("%d sources noted, want ada, bob and the import", n)
	}
	// Case counts, and so does who speaks.
	for _, n := range []NewPrompt{api("ada", "why is the sky blue?", true), {Messages: []Message{{"system", "Be brief."}, {"user", "Why is the sky blue?"}}, Origin: OriginImport}} {
		if _, created, err := b.add(n); !created || err != nil {
			t.Errorf("%+v: created %v, %v", n, created, err)
		}
	}
	// Many at once, in transactions of their own.
	var ids [16]string
	together(16, func(i int) {
		n := api(fmt.Sprint("customer ", i), "the same", true)
		n.ProjectID = b.project.ID
		err := pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
			p, _, err := b.store.AddPrompt(b.ctx, tx, n)
			ids[i] = p.ID
			return err
		})
		if err != nil {
			t.Errorf("%v", err)
		}
	})
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("prompt %s beside %s", id, ids[0])
		}
	}
	if n := b.count(`SELECT sum(prompts) FROM contributors WHERE customer_id LIKE 'customer %'`); n != 1 {
		t.Errorf("the text counts %d times against the caps, want once", n)
	}
}

func TestPromptCap(t *testing.T) {
	b := setup(t, func(p *Project) { p.PromptCap = 5 })
	together(10, func(i int) {
		n := api("ada", fmt.Sprint("prompt ", i), true)
		n.ProjectID = b.project.ID
		err := pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
			_, _, err := b.store.AddPrompt(b.ctx, tx, n)
			if errors.Is(err, ErrCapped) {
				_, err = tx.Exec(b.ctx, `SELECT 1`) // the caller's transaction goes on
			}
			return err
		})
		if err != nil {
			t.Errorf("%v", err)
		}
	})
	if n := b.count(`SELECT count(*) FROM prompts WHERE customer_id = 'ada'`); n != 5 {
		t.Errorf("%d prompts of one customer, want 5", n)
	}
	_, _, err := b.add(api("bob", "another", true))
	b.ok(err)
	if s := second2(b.add(api("ada", "prompt x", true))); !errors.Is(s, ErrCapped) {
		t.Errorf("beyond the cap: %v", s)
	}
	// A text that is there already costs nothing.
	if _, created, err := b.add(api("ada", "another", true)); created || err != nil {
		t.Errorf("a known text beyond the cap: %v, %v", created, err)
	}
}

func second2[T, U any](_ T, _ U, err error) error { return err }

func TestCustomerIsOnOneSide(t *testing.T) {
	b := setup(t)
	valid := 0
	for c := range 16 {
		split := ""
		for i := range 5 {
			p, _, err := b.add(api(fmt.Sprint("customer ", c), fmt.Sprintf("prompt %d of %d", i, c), true))
			b.ok(err)
			if split != "" && p.Split != split {
				t.Errorf("customer %d is in %s and in %s", c, split, p.Split)
			}
			split = p.Split
		}
		if split == Valid {
			valid++
		}
	}
	if valid != 2 {
		t.Errorf("%d of 16 customers are held out at a share of 1/8, want 2", valid)
	}
	// An import may say the split, for a customer only the one that it has.
	p, _, err := b.add(NewPrompt{Text: "held out", Origin: OriginImport, Split: Test})
	b.ok(err)
	if p.Split != Test {
		t.Errorf("split %s, given test", p.Split)
	}
	n := api("new", "one", true)
	n.Split = Valid
	_, _, err = b.add(n)
	b.ok(err)
	n = api("new", "two", true)
	n.Split = Train
	b.invalid(second2(b.add(n)), "split")
	if p, _, err = b.add(api("new", "three", true)); err != nil || p.Split != Valid {
		t.Errorf("split %s, %v; the customer is in valid", p.Split, err)
	}
}

func TestConsent(t *testing.T) {
	b := setup(t)
	p, created, err := b.add(api("ada", "secret", false))
	b.ok(err)
	if !created || p.Usable {
		t.Errorf("a prompt without consent: %+v", p)
	}
	waiting := func() int {
		list, err := b.store.PromptsWithoutTask(b.ctx, b.project.ID, 10)
		b.ok(err)
		return len(list)
	}
	if waiting() != 0 {
		t.Error("a prompt without consent waits for answers")
	}
	b.tx(func(tx pgx.Tx) error {
		_, err := b.store.AddTask(b.ctx, tx, p.ID, answers(2), 1, "")
		b.is(err, ErrNotFound)
		return nil
	})
	// The same text from a customer who consents is usable, as theirs.
	q, created, err := b.add(api("bob", "secret", true))
	b.ok(err)
	if created || q.ID != p.ID || !q.Usable || *q.CustomerID != "bob" {
		t.Errorf("taken over: %+v", q)
	}
	if waiting() != 1 {
		t.Error("the prompt does not wait for answers")
	}
	task := b.task(q, 3, 2, "r")
	keep := b.task(b.prompt("kept"), 3, 2, "r")
	a := b.claim("ann")
	if a.TaskID != task.ID {
		t.Fatal("another task was served")
	}
	b.submit(b.claim("cid"))

	consent := func(key string, yes bool) (n int) {
		b.tx(func(tx pgx.Tx) (err error) {
			n, err = b.store.SetConsent(b.ctx, tx, "bob", key, yes)
			return err
		})
		return n
	}
	if n := consent("another key", false); n != 0 {
		t.Errorf("opting out with another key changed %d prompts", n)
	}
	if n := consent("bob-key", false); n != 1 {
		t.Errorf("opting out changed %d prompts, want 1", n)
	}
	// Hidden at once: from who holds it, from the queue, from counts and snapshots.
	if c := b.claim("ann"); c.TaskID != keep.ID {
		t.Error("a hidden task was served")
	}
	_, err = b.store.Assignment(b.ctx, a.ID, "ann")
	b.is(err, ErrNotFound)
	n, err := b.store.CountRankings(b.ctx, b.project.ID, "r")
	b.ok(err)
	if n != 0 {
		t.Errorf("%d rankings count", n)
	}
	b.tx(func(tx pgx.Tx) error {
		_, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		b.is(err, ErrEmpty)
		return nil
	})
	// Work under way is kept all the same.
	if _, err = b.store.Submit(b.ctx, best(a, "k"), nil); err != nil && !errors.Is(err, ErrNotFound) {
		t.Errorf("submit to a hidden task: %v", err)
	}
	b.sound()
	if n := consent("", true); n != 1 {
		t.Errorf("opting in again changed %d prompts, want 1", n)
	}
	b.tx(func(tx pgx.Tx) error {
		s, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		if s.N != 2 {
			t.Errorf("%d rankings after opting in again, want 2", s.N)
		}
		return err
	})
	// Ranked on one side, a text does not move to the other with its next owner.
	b.sql(`UPDATE contributors SET split = 'train'`)
	consent("", false)
	n2 := api("eve", "secret", true)
	n2.Split = Test
	e, _, err := b.add(n2)
	b.ok(err)
	if e.Usable || *e.CustomerID != "bob" {
		t.Errorf("moved across the split: %+v", e)
	}
	b.sound()
}

func TestPromptRefused(t *testing.T) {
	b := setup(t)
	for field, n := range map[string]NewPrompt{
		"messages[0].content": {Text: " \n", Origin: OriginImport},
		"messages[1].role":    {Messages: []Message{{"user", "x"}, {"robot", "y"}}, Origin: OriginImport},
		"messages":            {Messages: []Message{{"user", "x"}, {"assistant", "y"}}, Origin: OriginImport},
		"origin":              {Text: "x", Origin: "mars"},
		"split":               {Text: "x", Origin: OriginImport, Split: "dev"},
		"customer":            {Text: "x", Origin: OriginAPI, Consent: true},
		"token_ids":           {Text: "x", Origin: OriginImport, TokenIDs: []int32{1}},
	} {
		b.invalid(second2(b.add(n)), field)
	}
	b.tx(func(tx pgx.Tx) error {
		p := b.prompt("fine")
		for field, call := range map[string]func() error{
			"responses": func() error { return second(b.store.AddTask(b.ctx, tx, p.ID, answers(1), 1, "")) },
			"overlap":   func() error { return second(b.store.AddTask(b.ctx, tx, p.ID, answers(2), 0, "")) },
			"responses[0]": func() error {
				return second(b.store.AddTask(b.ctx, tx, p.ID, []NewResponse{{TokenIDs: []int32{1}}, {}}, 1, ""))
			},
		} {
			b.invalid(call(), field)
		}
		b.is(second(b.store.AddTask(b.ctx, tx, newKey(), answers(2), 1, "")), ErrNotFound)
		_, err := b.store.AddTask(b.ctx, tx, p.ID, answers(2), 1, "round")
		b.ok(err)
		b.is(second(b.store.AddTask(b.ctx, tx, p.ID, answers(2), 1, "round")), ErrConflict) // and the transaction goes on
		return second(b.store.AddTask(b.ctx, tx, p.ID, answers(2), 1, "next round"))
	})
}

// nasty texts that a byte-level decoder emits, or that people paste.
var nasty = []string{
	"a\x00b", "\x00", "\xff\xfe", "cut \xe4\xb8", "\xed\xa0\x80 lone surrogate", "\xf8\x88\x80\x80\x80", "\xc0\xaf overlong", "\uffff\ufffe",
	"\u202eevil\u202c bidi \u2066x\u2069", "zero\u200bwidth\ufeff", strings.Repeat("a\u0301\u0302\u0303", 500), "<script>alert(1)</script>",
	"'; DROP TABLE rankings; --", "\\u0000 \\x00 $1 {{.}} %s", "e\u0301 é 一二三 👩\u200d👩\u200d👧", "\r\n\t\v\f\x1b[31m", "", strings.Repeat("長", 20_000),
}

func TestNastyText(t *testing.T) {
	b := setup(t)
	for at := 0; at+1 < len(nasty); at += 2 {
		pair := nasty[at : at+2]
		p := b.prompt(fmt.Sprint("nasty ", at))
		var task Task
		b.tx(func(tx pgx.Tx) (err error) {
			task, err = b.store.AddTask(b.ctx, tx, p.ID, []NewResponse{{Text: pair[0]}, {Text: pair[1]}}, 1, "")
			return err
		})
		list, err := b.store.Responses(b.ctx, task.ID)
		b.ok(err)
		for i, r := range list {
			exact := r.Raw
			if exact == nil {
				exact = []byte(r.Text)
			}
			if !bytes.Equal(exact, []byte(pair[i])) {
				t.Errorf("%q came back as %q", pair[i], exact)
			}
			if CheckText("", r.Text) != nil {
				t.Errorf("view %q of %q is not clean", r.Text, pair[i])
			}
		}
		b.submit(b.claim("ann"))
	}
	// What people send is refused with the place, or kept exactly.
	for i, s := range nasty {
		p, _, err := b.add(NewPrompt{Text: fmt.Sprintf("%d %s", i, s), Origin: OriginImport})
		if CheckText("", s) != nil {
			b.invalid(err, "messages[0].content")
			continue
		}
		b.ok(err)
		if want := fmt.Sprintf("%d %s", i, s); p.Text != want || p.Messages[0].Content != want {
			t.Errorf("%q came back as %q", want, p.Text)
		}
	}
	b.tx(func(tx pgx.Tx) error {
		s, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		if s.N != len(nasty)/2 {
			t.Errorf("snapshot of %d, want %d", s.N, len(nasty)/2)
		}
		return err
	})
}

func TestDemonstrations(t *testing.T) {
	b := setup(t)
	list := []Demonstration{{Messages: []Message{{"user", "Say hello."}}, Response: "Hello!", Origin: OriginImport},
		{Messages: []Message{{"user", "Say hello."}}, Response: "Good day.", Origin: OriginLabeler, LabelerID: "ann"}}
	n, err := b.store.AddDemonstrations(b.ctx, b.project.ID, list)
	b.ok(err)
	again, err := b.store.AddDemonstrations(b.ctx, b.project.ID, list)
	b.ok(err)
	if n != 2 || again != 0 {
		t.Errorf("added %d, then %d", n, again)
	}
	got, err := b.store.Demonstrations(b.ctx, b.project.ID, time.Time{}, 10)
	b.ok(err)
	if len(got) != 2 || got[1].Response != "Good day." || got[1].LabelerID != "ann" {
		t.Errorf("demonstrations %+v", got)
	}
	b.invalid(second(b.store.AddDemonstrations(b.ctx, b.project.ID, []Demonstration{{Messages: list[0].Messages, Response: "a\x00"}})), "demonstrations[0].response")
}
