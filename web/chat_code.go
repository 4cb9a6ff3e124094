package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/openai"
)

// chatCode gives a branch as the request that asks for its last answer (or, where nobody answered yet, for the next): for curl, and
// for the official SDKs.
func (s *server) chatCode(c *gin.Context) {
	turns, err := s.Conversations.Branch(c.Request.Context(), user(c).ID, c.Param("id"), c.Query("leaf"))
	if err == nil && len(turns) == 0 {
		err = bad("/leaf", "must be a turn of the conversation")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	settings := turns[len(turns)-1].Settings
	if turns[len(turns)-1].Role == conversation.Assistant {
		turns = turns[:len(turns)-1]
	}
	scheme := "http"
	if s.HTTPS {
		scheme = "https"
	}
	r := chatRequest(turns, answerIn{Settings: settings})
	c.JSON(http.StatusOK, codeOf(r, scheme+"://"+c.Request.Host+"/v1"))
}

// code is one request in several languages.
type code struct {
	Curl       string `json:"curl"`
	Python     string `json:"python"`
	JavaScript string `json:"javascript"`
	Go         string `json:"go"`
}

func codeOf(r *openai.ChatRequest, base string) code {
	return code{Curl: curlCode(r, base), Python: pythonCode(r, base), JavaScript: scriptCode(r, base), Go: goCode(r, base)}
}

// codeSetting is a parameter that the request sets.
type codeSetting struct {
	name, goName string
	value        string // as all the languages write numbers
	integer      bool
}

func settingsOf(r *openai.ChatRequest) (list []codeSetting) {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	if r.Temperature != nil {
		list = append(list, codeSetting{"temperature", "Temperature", number(*r.Temperature), false})
	}
	if r.TopP != nil {
		list = append(list, codeSetting{"top_p", "TopP", number(*r.TopP), false})
	}
	if r.MaxTokens != nil {
		list = append(list, codeSetting{"max_tokens", "MaxTokens", strconv.Itoa(*r.MaxTokens), true})
	}
	if r.Seed != nil {
		list = append(list, codeSetting{"seed", "Seed", strconv.FormatInt(*r.Seed, 10), true})
	}
	return list
}

// literal writes a text as JSON does, which Python and JavaScript read the same way.
func literal(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil { // texts always encode
		return `""`
	}
	return strings.TrimSpace(b.String())
}

func curlCode(r *openai.ChatRequest, base string) string {
	var b strings.Builder
	b.WriteString("{\n  \"model\": \"" + defaultModel + "\",\n  \"messages\": [\n")
	for i, m := range r.Messages {
		b.WriteString("    {\"role\": " + literal(m.Role) + ", \"content\": " + literal(string(m.Content)) + "}")
		if i < len(r.Messages)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	b.WriteString("  ]")
	for _, s := range settingsOf(r) {
		fmt.Fprintf(&b, ",\n  %q: %s", s.name, s.value)
	}
	b.WriteString("\n}")
	return "curl " + base + "/chat/completions \\\n  -H \"Authorization: Bearer $RANKLOOP_API_KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '" +
		strings.ReplaceAll(b.String(), "'", `'\''`) + "'\n"
}

func pythonCode(r *openai.ChatRequest, base string) string {
	var b strings.Builder
	b.WriteString("import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url=" + literal(base) + ", api_key=os.environ[\"RANKLOOP_API_KEY\"])\n")
	b.WriteString("answer = client.chat.completions.create(\n    model=\"" + defaultModel + "\",\n    messages=[\n")
	for _, m := range r.Messages {
		b.WriteString("        {\"role\": " + literal(m.Role) + ", \"content\": " + literal(string(m.Content)) + "},\n")
	}
	b.WriteString("    ],\n")
	for _, s := range settingsOf(r) {
		b.WriteString("    " + s.name + "=" + s.value + ",\n")
	}
	b.WriteString(")\nprint(answer.choices[0].message.content)\n")
	return b.String()
}

func scriptCode(r *openai.ChatRequest, base string) string {
	var b strings.Builder
	b.WriteString("import OpenAI from \"openai\";\n\nconst client = new OpenAI({ baseURL: " + literal(base) + ", apiKey: process.env.RANKLOOP_API_KEY });\n")
	b.WriteString("const answer = await client.chat.completions.create({\n  model: \"" + defaultModel + "\",\n  messages: [\n")
	for _, m := range r.Messages {
		b.WriteString("    { role: " + literal(m.Role) + ", content: " + literal(string(m.Content)) + " },\n")
	}
	b.WriteString("  ],\n")
	for _, s := range settingsOf(r) {
		b.WriteString("  " + s.name + ": " + s.value + ",\n")
	}
	b.WriteString("});\nconsole.log(answer.choices[0].message.content);\n")
	return b.String()
}

// goMessage names the SDK's function for a message of a role.
var goMessage = map[string]string{"system": "SystemMessage", conversation.User: "UserMessage", conversation.Assistant: "AssistantMessage"}

func goCode(r *openai.ChatRequest, base string) string {
	var b strings.Builder
	b.WriteString(`package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	client := openai.NewClient(option.WithBaseURL(` + strconv.Quote(base+"/") + `), option.WithAPIKey(os.Getenv("RANKLOOP_API_KEY")))
	answer, err := client.Chat.Completions.New(context.Background(), openai.ChatCompletionNewParams{
		Model: "` + defaultModel + `",
		Messages: []openai.ChatCompletionMessageParamUnion{
`)
	for _, m := range r.Messages {
		b.WriteString("\t\t\topenai." + goMessage[m.Role] + "(" + strconv.Quote(string(m.Content)) + "),\n")
	}
	b.WriteString("\t\t},\n")
	for _, s := range settingsOf(r) {
		kind := "Float"
		if s.integer {
			kind = "Int"
		}
		b.WriteString("\t\t" + s.goName + ": openai." + kind + "(" + s.value + "),\n")
	}
	b.WriteString(`	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Choices[0].Message.Content)
}
`)
	return formatted(b.String())
}

// formatted is a program as gofmt lays it out.
func formatted(src string) string {
	b, err := format.Source([]byte(src))
	if err != nil {
		return src
	}
	return string(b)
}
