package checkpoint

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model"
)

// TestMappedPagesGo: the pages stay as long as the model is in use, also when nothing
// but the model refers to them, and are given back after it.
func TestMappedPagesGo(t *testing.T) {
	dir := save(t, &Checkpoint{Model: mustModel(t, smallLlama, model.HeadLM, false)}, "F32")
	mapped := func() bool {
		return strings.Contains(string(must(os.ReadFile("/proc/self/maps"))), filepath.Join(dir, weightsName))
	}
	m := must(Load(dir)).Model
	for range 3 {
		runtime.GC()
	}
	m.Logits([]int32{1, 2, 3})
	if !mapped() {
		t.Error("the pages of a model in use are gone")
	}
	runtime.KeepAlive(m)
	m = nil
	for range 1000 { // cleanups run some time after the collection
		if runtime.GC(); !mapped() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if mapped() {
		t.Error("the pages are still there after the model")
	}
	// A folder that is refused leaves nothing behind.
	config := filepath.Join(dir, configName)
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || mapped() {
		t.Errorf("refused: %v, mapped: %v", err, mapped())
	}
}
