package web

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/health"
	"github.com/rankloop/rankloop/web/openai"
)

// TestOpenAPI: the description and the routes name the same endpoints, the types of OpenAI's shapes have the fields that it says, and
// what a labeler gets is what it says.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
		Parts   struct {
			Schemas map[string]struct {
				Required   []string                   `json:"required"`
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	got := w.withKey(secret).get("/api/v1/openapi.json").want(t, 200)
	got.into(t, &doc)
	if doc.OpenAPI != "3.1.0" {
		t.Error(doc.OpenAPI)
	}
	described := map[string]bool{}
	for path, ops := range doc.Paths {
		for method := range ops {
			described[strings.ToUpper(method)+" "+strings.NewReplacer("{id}", ":id", "{model}", ":model").Replace(path)] = true
		}
	}
	for _, r := range w.server.engine.Routes() {
		own := strings.HasPrefix(r.Path, "/v1/") || strings.Contains(r.Path, "/api/")
		if name := r.Method + " " + r.Path; own != described[name] {
			t.Errorf("%s: is JSON %v, described %v", name, own, described[name])
		}
		delete(described, r.Method+" "+r.Path)
	}
	for name := range described {
		t.Errorf("%s is described, and is not there", name)
	}
	for name, of := range map[string]any{
		"ChatRequest": openai.ChatRequest{}, "CompletionRequest": openai.CompletionRequest{}, "ChatMessage": openai.ChatMessage{}, "ChatCompletion": openai.Chat{}, "ChatChoice": openai.ChatChoice{},
		"ChatLogprobs": openai.ChatLogprobs{}, "TokenLogprob": openai.TokenLogprob{}, "Completion": openai.Completion{}, "CompletionChoice": openai.CompletionChoice{},
		"CompletionLogprobs": openai.CompletionLogprobs{}, "TokenUsage": openai.Usage{}, "Model": openai.Model{}, "ModelList": openai.ModelList{}, "StoredChat": openai.StoredChat{},
		"StoredList": openai.StoredList{}, "StoredMessage": openai.StoredMessage{}, "StoredMessageList": openai.List[openai.StoredMessage]{}, "StoredDeleted": openai.Deleted{}, "Engine": engineState{},
		"Health": health.Report{}, "HealthCheck": health.Check{}, "HealthFigures": health.Figures{}, "HealthSpace": health.Space{}, "HealthMark": health.Mark{}, "HealthQueue": health.Queue{}, "HealthPage": healthView{},
	} {
		want, have := tagsOf(reflect.TypeOf(of)), slices.Sorted(maps.Keys(doc.Parts.Schemas[name].Properties))
		if !slices.Equal(want, have) {
			t.Errorf("schema %s has %v, the program %v", name, have, want)
		}
	}
	for _, ref := range strings.Split(got.body, `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if _, ok := doc.Parts.Schemas[name]; !ok {
			t.Errorf("schema %s is missing", name)
		}
	}
	w.addTask(says("Tell a story."), demoAnswers...)
	var task map[string]json.RawMessage
	w.as("mina", account.RoleLabeler).json(post, "/label/api/claim", nil).want(t, 200).into(t, &task)
	schema := doc.Parts.Schemas["Task"]
	for k := range task {
		if !slices.Contains(schema.Required, k) || schema.Properties[k] == nil {
			t.Errorf("a task has %s, its schema has not", k)
		}
	}
	if len(task) != len(schema.Required) {
		t.Errorf("a task has %d fields, its schema %d", len(task), len(schema.Required))
	}
}

// tagsOf are the names of a type's fields in JSON, sorted.
func tagsOf(of reflect.Type) (out []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		if f.Anonymous {
			out = append(out, tagsOf(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
