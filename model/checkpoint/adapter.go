package checkpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/model"
)

// Files of an adapter's folder, as PEFT names them, and what it puts before the name
// of every tensor.
const (
	adapterConfigName  = "adapter_config.json"
	adapterWeightsName = "adapter_model.safetensors"
	adapterPrefix      = "base_model.model."
)

// SaveAdapter writes the LoRA adapters of m, and its scalar head if it has one, as a
// folder that PEFT reads: adapter_config.json and adapter_model.safetensors, float32.
// base is the name or folder of the model beneath, "" = not said. The folder appears as
// one of [Checkpoint.Export] does.
func SaveAdapter(dir string, m *model.Transformer, base string) error {
	if err := saveAdapter(disk{}, dir, m, base); err != nil {
		return fmt.Errorf("save adapter %s: %w", dir, err)
	}
	return nil
}

func saveAdapter(d disk, dir string, m *model.Transformer, base string) error {
	l, ok := m.LoRA()
	if !ok {
		return invalid("adapters", "the model has none")
	}
	family := m.Config().Family
	config := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": nil, "inference_mode": true,
		"r": l.Rank, "lora_alpha": l.Alpha, "lora_dropout": 0.0, "target_modules": l.Targets, "bias": "none",
		"fan_in_fan_out":  family != "llama", // the GPTs' linear layers are Conv1D, [in,out]
		"modules_to_save": nil, "init_lora_weights": true, "use_rslora": false, "use_dora": false,
		"rank_pattern": map[string]int{}, "alpha_pattern": map[string]int{},
	}
	if base != "" {
		config["base_model_name_or_path"] = base
	}
	if m.ScalarHead() != model.HeadLM {
		config["task_type"], config["modules_to_save"] = "SEQ_CLS", []string{headModule(m.ScalarHead())}
	}
	text, err := encodeJSON(config)
	if err != nil {
		return err
	}
	var tensors []Tensor
	for _, p := range m.Params() {
		if name := adapterName(family, p.Name); name != "" {
			if err := finite(p.Name, p); err != nil {
				return err
			}
			tensors = append(tensors, Tensor{Name: name, DType: "F32", Shape: p.Shape, F32: p.Data})
		}
	}
	defer runtime.KeepAlive(m)
	return d.writeDir(dir, func() error { return mayReplace(dir) }, func(tmp string) error {
		if err := d.createFile(filepath.Join(tmp, adapterConfigName), text); err != nil {
			return err
		}
		err := d.create(filepath.Join(tmp, adapterWeightsName), func(w io.Writer) error {
			return encodeTensors(w, tensors, map[string]string{"format": "pt"})
		})
		if err != nil {
			return err
		}
		list, err := sumDir(tmp)
		if err != nil {
			return err
		}
		return d.createFile(filepath.Join(tmp, sumsName), list.encode())
	})
}

// adapterName is the name of a parameter in an adapter's file, "" where it is not in it:
// PEFT calls the two factors of a module lora_A.weight and lora_B.weight.
func adapterName(family, param string) string {
	switch {
	case strings.HasSuffix(param, ".lora_A") || strings.HasSuffix(param, ".lora_B"):
		return adapterPrefix + fileName(family, param) + ".weight"
	case strings.HasPrefix(param, "score.") || strings.HasPrefix(param, "value."):
		return adapterPrefix + param
	}
	return ""
}

// headModule is the name of a scalar head's module.
func headModule(h model.Head) string {
	if h == model.HeadValue {
		return "value"
	}
	return "score"
}

// LoadAdapter gives m, which has none yet, the adapters of a folder that PEFT or
// [SaveAdapter] wrote, and its scalar head; everything but those is frozen then.
// model.(*Transformer).MergeLoRA makes them part of the weights. A setting that would
// make PEFT compute something else is refused with an [InvalidError], tensors of
// another model with a [TensorsError]; m is as it was then.
func LoadAdapter(m *model.Transformer, dir string) error {
	if err := loadAdapter(m, dir); err != nil {
		return fmt.Errorf("load adapter %s: %w", dir, err)
	}
	return nil
}

func loadAdapter(m *model.Transformer, dir string) error {
	if _, ok := m.LoRA(); ok {
		return invalid("adapters", "the model has some already: merge them first")
	}
	fsys := os.DirFS(dir)
	list, err := readSums(fsys)
	if err != nil {
		return err
	}
	if err := list.checkFiles(fsys, func(string) bool { return false }); err != nil {
		return err
	}
	data, err := readSmall(fsys, adapterConfigName)
	if err != nil {
		return err
	}
	l, head, err := parseAdapter(data)
	if err != nil {
		return err
	}
	tensors, err := ReadTensorsFS(fsys, adapterWeightsName)
	if err != nil {
		return err
	}
	// Everything is checked on a model without weights before m changes.
	twin, err := model.NewEmpty(m.Config())
	if err != nil {
		return err
	}
	grow := func(m *model.Transformer) error {
		if head != model.HeadLM && m.ScalarHead() != head {
			m.AddHead(head, 0)
		}
		if _, ok := tensors[adapterPrefix+headModule(head)+".bias"]; ok && head != model.HeadLM {
			m.AddHeadBias()
		}
		return m.AddLoRA(l, 0)
	}
	if err := grow(twin); err != nil {
		return err
	}
	if err := compareAdapter(twin, tensors); err != nil {
		return err
	}
	if err := grow(m); err != nil {
		return err
	}
	for _, p := range m.Params() {
		if t, ok := tensors[adapterName(m.Config().Family, p.Name)]; ok {
			copy(p.Data, t.F32)
		}
	}
	return nil
}

// compareAdapter lists what does not fit between the adapters of m and a file.
func compareAdapter(m *model.Transformer, tensors map[string]Tensor) error {
	want, have := map[string]*model.Param{}, map[string]entry{}
	for _, p := range m.Params() {
		if name := adapterName(m.Config().Family, p.Name); name != "" {
			want[name] = &model.Param{Name: name, Shape: p.Shape}
		}
	}
	for name, t := range tensors {
		have[name] = entry{name: name, dtype: t.DType, shape: t.Shape}
		if err := finite(name, &model.Param{Data: t.F32}); err != nil {
			return err
		}
	}
	return compare(want, have, false)
}

// peftConfig is what counts of adapter_config.json.
type peftConfig struct {
	Type    string   `json:"peft_type"`
	Rank    int      `json:"r"`
	Alpha   float64  `json:"lora_alpha"`
	Targets []string `json:"target_modules"`
	Bias    string   `json:"bias"`
	Save    []string `json:"modules_to_save"`
}

// peftNeutral are the settings that change nothing in what a finished adapter computes.
var peftNeutral = []string{"peft_type", "r", "lora_alpha", "target_modules", "bias", "modules_to_save", "task_type", "auto_mapping",
	"base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "fan_in_fan_out", "megatron_core", "qalora_group_size",
	"peft_version", "corda_config", "eva_config", "exclude_modules", "layers_pattern"}

// parseAdapter reads adapter_config.json.
func parseAdapter(data []byte) (l model.LoRA, head model.Head, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return l, head, invalid(adapterConfigName, "%v", err)
	}
	for name, value := range all {
		text := string(value)
		switch {
		case slices.Contains(peftNeutral, name) || slices.Contains([]string{"null", "false", "{}", "[]", `""`}, text):
		case name == "init_lora_weights" && (text == "true" || text == `"gaussian"`):
		default:
			return l, head, invalid(adapterConfigName+": "+name, "%.60s is not supported", text)
		}
	}
	c := peftConfig{Bias: "none"}
	if err := json.Unmarshal(data, &c); err != nil {
		return l, head, invalid(adapterConfigName, "%v", err)
	}
	switch {
	case c.Type != "LORA":
		return l, head, invalid(adapterConfigName+": peft_type", "%q is not LORA", c.Type)
	case c.Bias != "none":
		return l, head, invalid(adapterConfigName+": bias", "%q is not none", c.Bias)
	case len(c.Targets) == 0:
		return l, head, invalid(adapterConfigName+": target_modules", "names no module")
	case len(c.Save) > 1 || len(c.Save) == 1 && c.Save[0] != "score" && c.Save[0] != "value":
		return l, head, invalid(adapterConfigName+": modules_to_save", "%q are not one scalar head, score or value", c.Save)
	}
	if len(c.Save) == 1 {
		head = map[string]model.Head{"score": model.HeadScore, "value": model.HeadValue}[c.Save[0]]
	}
	return model.LoRA{Rank: c.Rank, Alpha: c.Alpha, Targets: c.Targets}, head, nil
}
