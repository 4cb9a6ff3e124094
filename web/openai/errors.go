package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Error is the one error object: {"error": {"message", "type", "param", "code"}}, all four keys always there.
type Error struct {
	Status  int     `json:"-"` // HTTP status
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *Error) Error() string { return e.Message }

// Body is the JSON document of the error.
func (e *Error) Body() []byte {
	b, err := json.Marshal(struct {
		Error *Error `json:"error"`
	}{e})
	if err != nil { // strings always marshal
		panic(err)
	}
	return b
}

func ptr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Invalid is a request that cannot be used; param names the field, code may be empty.
func Invalid(param, code, format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, fmt.Sprintf(format, args...), "invalid_request_error", ptr(param), ptr(code)}
}

// Unauthorized is a missing, wrong, expired or revoked key; it never says which.
func Unauthorized() *Error {
	return &Error{http.StatusUnauthorized, "Incorrect API key provided. Give a valid key as 'Authorization: Bearer KEY'.", "invalid_request_error", nil, ptr("invalid_api_key")}
}

// Forbidden is a key without the scope for the request.
func Forbidden(message string) *Error {
	return &Error{http.StatusForbidden, message, "invalid_request_error", nil, ptr("insufficient_permissions")}
}

// ModelNotFound is a model name that is not served.
func ModelNotFound(name string) *Error {
	return &Error{http.StatusNotFound, fmt.Sprintf("The model '%s' does not exist or you do not have access to it.", clip(name)), "invalid_request_error", ptr("model"), ptr("model_not_found")}
}

// UnknownURL is a path or method that is not served.
func UnknownURL(method, path string) *Error {
	return &Error{http.StatusNotFound, fmt.Sprintf("Unknown request URL: %s %s.", method, path), "invalid_request_error", nil, ptr("unknown_url")}
}

// MethodNotAllowed is a known path with a wrong method.
func MethodNotAllowed(method string) *Error {
	return &Error{http.StatusMethodNotAllowed, fmt.Sprintf("Not allowed to %s this URL.", method), "invalid_request_error", nil, ptr("method_not_supported")}
}

// ContextLengthExceeded is a prompt that does not fit with the answer that is asked for.
func ContextLengthExceeded(param string, context, prompt, answer int) *Error {
	return Invalid(param, "context_length_exceeded",
		"This model's maximum context length is %d tokens. However, you requested %d tokens (%d in the prompt, %d for the completion). Please shorten the prompt or the completion.",
		context, prompt+answer, prompt, answer)
}

// What a rate limit counts; the type of its Error.
const (
	LimitRequests = "requests"
	LimitTokens   = "tokens"
)

// RateLimited is a request above the key's limit of requests or tokens a minute; the response carries Retry-After.
func RateLimited(what, message string) *Error {
	return &Error{http.StatusTooManyRequests, message, what, nil, ptr("rate_limit_exceeded")}
}

// QuotaExceeded is a request above what the key may use in a day; trying again before the day is over is of no use.
func QuotaExceeded(message string) *Error {
	return &Error{http.StatusTooManyRequests, message, "insufficient_quota", nil, ptr("insufficient_quota")}
}

// NotFound is an object that does not exist, or belongs to somebody else; what names its kind.
func NotFound(what, id string) *Error {
	return &Error{http.StatusNotFound, fmt.Sprintf("%s not found: '%s'.", what, clip(id)), "invalid_request_error", nil, ptr("not_found")}
}

// Overloaded is a request that no slot is free for; the response carries Retry-After.
func Overloaded() *Error {
	return &Error{http.StatusServiceUnavailable, "The engine is currently overloaded, please try again later.", "server_error", nil, ptr("overloaded")}
}

// Internal hides what went wrong; id finds it in the log.
func Internal(id string) *Error {
	return &Error{http.StatusInternalServerError, "The server had an error while processing your request. Request id: " + id + ".", "server_error", nil, nil}
}

// TooLarge is a body above the limit of the route.
func TooLarge(limit int64) *Error {
	return &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("The request body is larger than %d bytes.", limit), "invalid_request_error", nil, ptr("request_too_large")}
}

// decode reads one JSON document into v and turns what is wrong with it into an Error.
func decode(body []byte, v any) *Error {
	err := json.Unmarshal(body, v)
	var wrong *json.UnmarshalTypeError
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.As(err, &wrong) && wrong.Field != "":
		field := strings.TrimPrefix(wrong.Field, "Sampling.") // the embedded struct's own name is not on the wire
		return Invalid(field, "invalid_type", "Invalid type for '%s': expected %s, but got %s instead.", field, kind(wrong.Type.Kind().String()), wrong.Value)
	}
	return Invalid("", "", "We could not parse the JSON body of your request: the body must be one JSON object.")
}

// clip bounds what a message repeats of a request.
func clip(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}

// kind names a Go kind as JSON does.
func kind(k string) string {
	switch k {
	case "string":
		return "a string"
	case "bool":
		return "a boolean"
	case "slice", "array":
		return "an array"
	case "struct", "map":
		return "an object"
	}
	return "a number"
}
