package eval

import (
	"errors"
	"strings"
	"testing"
)

func TestReadTask(t *testing.T) {
	task, err := ReadTask(strings.NewReader(`
{"task":"mine","title":"what I ask","metric":"likeliest","instruction":"Choose.","separator":"\n"}
{"prompt":"Ice is","choices":["cold","hot"],"answer":0}

{"prompt":"Fire is ","choices":["cold","hot"],"answer":1}
{"prompt":"Snow is","choices":[" cold"," hot"],"answer":0,"example":true}
`), "/a/b.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if task.Name != "mine" || task.Rule != Likeliest || task.Instruction != "Choose." || task.Separator != "\n" || task.Title != "what I ask" {
		t.Errorf("%+v", task)
	}
	ask, pool := task.sets(0, 10, nil)
	if len(ask) != 2 || len(pool) != 1 || pool[0].Answer != " cold" {
		t.Fatalf("%+v, %+v", ask, pool)
	}
	for _, it := range ask {
		if it.Prompt == "Ice is" && it.Choices[1] != " hot" || it.Prompt == "Fire is " && it.Answer != "hot" {
			t.Errorf("%+v", it)
		}
	}
	task, err = ReadTask(strings.NewReader(`{"prompt":"2+2=","answer":"4"}`+"\n"+`{"prompt":"2+3=","answer":"5"}`), "sums.jsonl")
	if err != nil || task.Name != "sums" || task.Rule != Exact || task.Separator != "\n\n" {
		t.Errorf("%+v, %v", task, err)
	}
	task, err = ReadTask(strings.NewReader(`{"join":""}`+"\n"+`{"prompt":"2+2=","answer":"4"}`), "sums.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if ask, _ := task.sets(0, 1, nil); ask[0].Answer != "4" {
		t.Errorf("%q", ask[0].Answer)
	}
	task, err = ReadTask(strings.NewReader(`{"prompt":"","choices":["a","b"],"answer":1}`), "x.jsonl")
	if err != nil || task.Rule != LikeliestPerToken {
		t.Errorf("%+v, %v", task, err)
	}
}

func TestReadTaskNamesTheLine(t *testing.T) {
	const good = `{"prompt":"a","answer":"b"}` + "\n"
	for in, want := range map[string]string{
		"":                                    "no questions",
		good + "nonsense":                     "f.jsonl:2",
		good + "\n" + `{"prompt":"a"}`:        "f.jsonl:3: answer is missing",
		good + `{"answer":"a"}`:               "f.jsonl:2: prompt is missing",
		good + `{"prompt":"a","answer":""}`:   "f.jsonl:2: answer",
		good + `{"prompt":"a","answer":5}`:    "f.jsonl:2: metric exact wants a text",
		good + `{"prompt":"a","answr":"b"}`:   `unknown field "answr"`,
		good + `{"prompt":"a","answer":"b"}{`: "f.jsonl:2: more than one value",
		good + `{"prompt":"a","answer":"b","choices":["b","c"]}`: "no choices",
		`{"metric":"best"}`:                                                   `f.jsonl:1: metric "best" is not one of`,
		`{"metrik":"exact"}`:                                                  `unknown field "metrik"`,
		`{"prompt":"a","answer":0,"choices":["x"]}`:                           "at least 2 choices",
		`{"prompt":"a","answer":2,"choices":["x","y"]}`:                       "0 to 1",
		`{"prompt":"a","answer":"x","choices":["x","y"]}`:                     "index of a choice",
		`{"prompt":"a","answer":0,"choices":["x","x"]}`:                       "is empty or there already",
		`{"prompt":"a","answer":"b\nc"}`:                                      "one line",
		`{"metric":"word"}` + "\n" + `{"prompt":"a","answer":"12"}`:           "f.jsonl:2",
		good + `{"prompt":"` + strings.Repeat("x", maxTaskLine) + `","a":""}`: "f.jsonl:2",
	} {
		_, err := ReadTask(strings.NewReader(in), "f.jsonl")
		var bad *InvalidError
		if !errors.As(err, &bad) || !strings.Contains(bad.Field+": "+bad.Reason, want) {
			t.Errorf("%.60q: %v, want %q", in, err, want)
		}
	}
}

func FuzzReadTask(f *testing.F) {
	f.Add(`{"task":"x","metric":"word"}` + "\n" + `{"prompt":"a","answer":"b"}`)
	f.Add(`{"prompt":"a","choices":["b","c"],"answer":1,"example":true}` + "\n" + `{"prompt":"q","choices":["b","c"],"answer":0}`)
	f.Fuzz(func(t *testing.T, in string) {
		task, err := ReadTask(strings.NewReader(in), "f")
		if err != nil {
			var bad *InvalidError
			if !errors.As(err, &bad) {
				t.Errorf("%v", err)
			}
			return
		}
		ask, pool := task.sets(0, 5, nil)
		for _, it := range append(ask, pool...) {
			if it.Answer == "" || task.Rule.chooses() && it.Choices[it.Right] != it.Answer {
				t.Errorf("%+v", it)
			}
		}
	})
}
