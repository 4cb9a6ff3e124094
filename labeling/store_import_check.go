package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
)

// CheckImport reads a file as ImportFile does and tells what that would say, against the file itself and against what the
// project holds now; it writes nothing and locks nothing. It remembers hashes of what is new, about 200 bytes a record.
func (s *Store) CheckImport(ctx context.Context, projectID string, how Reading, file io.Reader) (ImportReport, error) {
	project, err := s.Project(ctx, projectID)
	if err != nil {
		return ImportReport{}, err
	}
	c := &importCheck{ctx: ctx, store: s, prompts: map[[32]byte]bool{}, prefixes: map[[16]byte]bool{}, rankings: map[[32]byte][8]byte{}, demonstrations: map[[32]byte]bool{},
		deal: dealer{project: project}}
	err = read(file, how, &c.report.Format, checkLine, func(l checkedLine) error {
		if c.lines = append(c.lines, l); len(c.lines) < settleLines {
			return nil
		}
		if err := c.settle(); err != nil {
			return stagingError{err}
		}
		return nil
	})
	if failed := c.settle(); failed != nil {
		return c.report, wrap(failed, "check of an import into project %s", projectID)
	}
	return c.report, err
}

// checkedLine is a line on its way to nowhere.
type checkedLine struct {
	n       int
	records []*settling
	err     error
}

func checkLine(f format, n int, text []byte) checkedLine {
	records, err := f.records(text)
	l := checkedLine{n: n, err: err}
	for _, r := range records {
		it := &settling{line: n, rec: r, hash: promptHash(r.conversation())}
		it.clean()
		l.records = append(l.records, it)
	}
	return l
}

// importCheck decides as a settler does. What that would have written by now is remembered here.
type importCheck struct {
	ctx            context.Context
	store          *Store
	report         ImportReport
	lines          []checkedLine
	prompts        map[[32]byte]bool    // new ones, by hash
	prefixes       map[[16]byte]bool    // of new prompts
	rankings       map[[32]byte][8]byte // new ones: ranks by prompt, answers and labeler, hashed
	demonstrations map[[32]byte]bool    // new ones, by hash
	deal           dealer
}

// settle looks a chunk of lines up and counts them.
func (c *importCheck) settle() error {
	var hashes, prefixes, written [][]byte
	var customers []string
	for _, l := range c.lines {
		for _, it := range l.records {
			if it.rec.Kind == Demonstrated {
				hash, err := demonstrationHash(it.messages, it.rec.Completions[0])
				if err != nil {
					return err
				}
				it.hash = [32]byte(hash)
				written = append(written, hash)
				continue
			}
			if hashes, customers = append(hashes, it.hash[:]), append(customers, it.rec.Customer); it.prefix != nil {
				prefixes = append(prefixes, it.prefix)
			}
		}
	}
	q, project := c.store.pool, c.deal.project.ID
	known, err := knownPrompts(c.ctx, q, project, hashes, "")
	if err != nil {
		return err
	}
	alike, err := alikePrompts(c.ctx, q, project, prefixes)
	if err != nil {
		return err
	}
	if err := c.deal.load(c.ctx, q, customers, ""); err != nil {
		return err
	}
	ids := make([]string, 0, len(known))
	for _, p := range known {
		ids = append(ids, p.id)
	}
	tasks, err := answeredTasks(c.ctx, q, ids, "")
	if err != nil {
		return err
	}
	for hash, p := range known {
		for _, task := range tasks[p.id] {
			for labeler, ranks := range task.by {
				c.rankings[rankingKey(hash, task.texts, labeler)] = ranksKey(ranks)
			}
		}
	}
	rows, err := q.Query(c.ctx, `SELECT hash FROM demonstrations WHERE project_id = $1 AND hash = ANY($2) AND assignment_id IS NULL`, project, written)
	if err != nil {
		return err
	}
	for rows.Next() {
		c.demonstrations[[32]byte(rows.RawValues()[0])] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, l := range c.lines {
		c.count(l, known, alike)
	}
	c.lines = c.lines[:0]
	return nil
}

func (c *importCheck) count(l checkedLine, known map[[32]byte]knownPrompt, alike map[string]bool) {
	c.report.Read++
	if l.err != nil {
		c.report.reject(l.n, l.err)
		return
	}
	for _, it := range l.records {
		it.fresh, it.wrong = c.decide(it, known, alike)
	}
	imported, duplicates, wrong := outcome(l.records)
	if c.report.Imported, c.report.Duplicates = c.report.Imported+imported, c.report.Duplicates+duplicates; wrong != nil {
		c.report.reject(l.n, wrong)
	}
}

// decide is what becomes of a record: see settler.prompts, rankings and demonstrations.
func (c *importCheck) decide(it *settling, known map[[32]byte]knownPrompt, alike map[string]bool) (fresh bool, wrong error) {
	if it.rec.Kind == Demonstrated {
		fresh = !c.demonstrations[it.hash]
		c.demonstrations[it.hash] = true
		return fresh, nil
	}
	if err := it.tooMany(); err != nil {
		return false, err
	}
	if p, ok := known[it.hash]; ok {
		if !p.usable {
			return false, errWithdrawn()
		}
	} else if !c.prompts[it.hash] {
		var prefix [16]byte
		copy(prefix[:], it.prefix)
		if it.rec.Kind == Asked && it.prefix != nil && (alike[string(it.prefix)] || c.prefixes[prefix]) {
			return false, nil
		}
		if _, err := c.deal.split(it); err != nil {
			return false, err
		}
		c.prompts[it.hash] = true
		if it.prefix != nil {
			c.prefixes[prefix] = true
		}
		fresh = it.rec.Kind == Asked
	}
	if it.rec.Kind == Asked {
		return fresh, nil
	}
	key, ranks := rankingKey(it.hash, it.rec.Completions, importedLabeler(it.rec.Labeler)), ranksKey(it.rec.Ranks)
	before, ok := c.rankings[key]
	switch {
	case !ok:
		c.rankings[key] = ranks
		return true, nil
	case before != ranks:
		return false, errContradicts()
	}
	return false, nil
}

func rankingKey(prompt [32]byte, completions []string, labeler string) [32]byte {
	h := sha256.New()
	h.Write(prompt[:])
	for _, text := range append([]string{labeler}, completions...) {
		h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		io.WriteString(h, text)
	}
	return [32]byte(h.Sum(nil))
}

// ranksKey tells the ranks of the same answers apart: at most nine numbers of at most nine.
func ranksKey(ranks []int) (key [8]byte) {
	var n uint64
	for _, r := range ranks {
		n = n*10 + uint64(r)
	}
	binary.BigEndian.PutUint64(key[:], n)
	return key
}
