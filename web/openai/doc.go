// Package openai holds the wire types of the OpenAI REST shapes that rankloop serves under /v1: requests with their bounds,
// responses, stream chunks, errors and server-sent-event frames. It is pure: no HTTP, no database, no model.
//
// Fields that a client must find are never omitted; where the shape says null, a nil pointer is written. Unknown request
// fields are passed over, as SDK users expect, while a wrong type or a value out of bounds is an Error that names its
// parameter. The bounds are those of the published OpenAPI description.
package openai
