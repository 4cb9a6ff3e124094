module github.com/rankloop/rankloop/model/token/bench

go 1.26.0

require (
	github.com/rankloop/rankloop v0.0.0
	github.com/tiktoken-go/tokenizer v0.10.0
)

require (
	github.com/dlclark/regexp2/v2 v2.5.1 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/rankloop/rankloop => ../../..
