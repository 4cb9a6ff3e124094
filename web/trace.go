package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// traceScope names this room in spans.
const traceScope = "github.com/rankloop/rankloop/web"

// traced makes a span of a request: its method, its route and its answer's status. Paths, queries, headers and addresses stay out, and so
// does the trace that a caller names: strangers shall not decide what is recorded.
func (s *server) traced(c *gin.Context) {
	route := c.FullPath()
	if route == "/healthz" || route == "/readyz" || strings.HasPrefix(route, "/static/") {
		return
	}
	method := methodName(c.Request.Method)
	ctx, span := s.Tracer.Start(c.Request.Context(), strings.TrimSpace(method+" "+route), trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.String("rankloop.request", requestID(c.Request))))
	c.Request = c.Request.WithContext(ctx)
	defer func() {
		code := c.Writer.Status()
		span.SetAttributes(attribute.Int("http.response.status_code", code))
		if code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}()
	c.Next()
}

// startSpan begins the span of what the engine does for a request; where traces are off it costs nothing.
func (j *job) startSpan(ctx context.Context) context.Context {
	ctx, j.span = trace.SpanFromContext(ctx).TracerProvider().Tracer(traceScope).Start(ctx, "engine.generate")
	return ctx
}

// endSpan says how much was read and written, and by which model; not what.
func (j *job) endSpan() {
	if j.span == nil {
		return
	}
	j.span.SetAttributes(attribute.String("gen_ai.response.model", j.VersionID), attribute.String("gen_ai.response.finish_reason", j.finish),
		attribute.Int("rankloop.choices", j.n*len(j.prompts)), attribute.Int("rankloop.cached_tokens", j.cached),
		attribute.Int("gen_ai.usage.input_tokens", j.promptToks), attribute.Int("gen_ai.usage.output_tokens", j.drawn))
	j.span.End()
	j.span = nil
}
