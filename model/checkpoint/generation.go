package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Generation is generation_config.json field by field, as it was found: which tokens
// begin, end and pad a text, and how the model's makers sample from it (temperature,
// top_p, top_k ...). It survives loading and saving; [model.Config] has the ids that
// rankloop works with.
type Generation map[string]json.RawMessage

// Ends are the tokens that end a text, nil where nothing is said of them.
func (g Generation) Ends() []int {
	var ids idList
	if json.Unmarshal(g["eos_token_id"], &ids) != nil {
		return nil
	}
	return ids
}

// Pad is the token that fills up a batch, -1 where nothing is said of it.
func (g Generation) Pad() int {
	var id hfID
	if json.Unmarshal(g["pad_token_id"], &id) != nil {
		return -1
	}
	return id.or(-1)
}

// idList is what may stand for an id: a number, a list, null.
type idList []int

func (l *idList) UnmarshalJSON(b []byte) error {
	var one *int
	if err := json.Unmarshal(b, &one); err == nil {
		if *l = nil; one != nil {
			*l = idList{*one}
		}
		return nil
	}
	var many []int
	err := json.Unmarshal(b, &many)
	*l = many
	return err
}

// loadConfig reads config.json and generation_config.json. What the first does not say
// of BOS and EOS, the second may; a list of ends that stands in the first is kept in
// the second.
func loadConfig(fsys fs.FS) (model.Config, Generation, error) {
	data, err := readSmall(fsys, configName)
	if err != nil {
		return model.Config{}, nil, err
	}
	cfg, err := ParseConfig(data)
	if err != nil {
		return cfg, nil, err
	}
	g, err := loadGeneration(fsys)
	if err != nil {
		return cfg, nil, err
	}
	var said struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return cfg, nil, invalid(configName, "%v", err)
	}
	if ends := (Generation{"eos_token_id": said.EOS}).Ends(); len(ends) > 1 && g.Ends() == nil {
		if g == nil {
			g = Generation{}
		}
		g["eos_token_id"] = said.EOS
	}
	if ends := g.Ends(); cfg.EOS < 0 && len(ends) > 0 {
		cfg.EOS = ends[0]
	}
	var bos hfID
	if cfg.BOS < 0 && json.Unmarshal(g["bos_token_id"], &bos) == nil {
		cfg.BOS = bos.or(-1)
	}
	return cfg, g, cfg.Validate()
}

func loadGeneration(fsys fs.FS) (Generation, error) {
	data, err := readSmall(fsys, generationName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var g Generation
	if err := json.Unmarshal(data, &g); err != nil {
		return nil, invalid(generationName, "%v", err)
	}
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id"} {
		var ids idList
		if raw, ok := g[key]; ok && json.Unmarshal(raw, &ids) != nil {
			return nil, invalid(generationName+": "+key, "%s is not a token id", raw)
		}
	}
	return g, nil
}

// encode is the file for a model of that shape: all fields as found, but for ids that
// the shape says otherwise.
func (g Generation) encode(c model.Config) ([]byte, error) {
	out := map[string]any{"bos_token_id": idOrNull(c.BOS), "eos_token_id": idOrNull(c.EOS)}
	if len(g) == 0 {
		out["_from_model_config"] = true
		return encodeJSON(out)
	}
	for key, raw := range g {
		switch {
		case key == "bos_token_id":
		case key == "eos_token_id" && !slices.Contains(g.Ends(), c.EOS):
		default:
			out[key] = raw
		}
	}
	return encodeJSON(out)
}
