package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Traces are off unless the environment names a collector, and then cost nothing: no tracer is handed to anybody. Spans hold names,
// counts and codes that this program gives; no text of people, no parameter of a query, no message of an error, since a message may
// quote what somebody wrote. That is why spans of queries and jobs are made here and not by libraries that record all of these.

// tracing is where spans go; nil is nowhere.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// collector is the address that the environment names, by the names that OpenTelemetry gives; empty: none.
func collector(getenv func(string) string) string {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || strings.EqualFold(getenv("OTEL_TRACES_EXPORTER"), "none") {
		return ""
	}
	return cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
}

// openTracing sends spans to the collector of the environment by OTLP over HTTP; without one it returns nil. Headers, sampler and
// the like are read from the environment by the library. The client is the guarded one.
func openTracing(ctx context.Context) (*tracing, error) {
	endpoint := collector(os.Getenv)
	if endpoint == "" {
		return nil, nil
	}
	client, err := outboundClient(ctx, endpoint)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return newTracing(sdktrace.WithBatcher(exporter)), nil
}

func newTracing(out sdktrace.TracerProviderOption) *tracing {
	about := resource.NewSchemaless(attribute.String("service.name", cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), "rankloop")), attribute.String("service.version", version))
	p := sdktrace.NewTracerProvider(out, sdktrace.WithResource(about))
	return &tracing{provider: p, tracer: p.Tracer("github.com/rankloop/rankloop")}
}

// Close sends what waits.
func (t *tracing) Close(ctx context.Context) {
	if t != nil {
		t.provider.Shutdown(ctx) // a collector that is gone must not hold up the end
	}
}

// web is the tracer of pages and API; nil: off.
func (t *tracing) web() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// queries is the tracer of a pool; nil: off.
func (t *tracing) queries() pgx.QueryTracer {
	if t == nil {
		return nil
	}
	return queryTracer{t.tracer}
}

// jobs are the middlewares of the job client.
func (t *tracing) jobs() []rivertype.Middleware {
	if t == nil {
		return nil
	}
	return []rivertype.Middleware{river.WorkerMiddlewareFunc(func(ctx context.Context, job *rivertype.JobRow, next func(context.Context) error) (err error) {
		ctx, span := t.tracer.Start(ctx, "job "+job.Kind, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("messaging.system", "river"), attribute.String("messaging.destination.name", job.Queue),
			attribute.Int64("job.id", job.ID), attribute.Int("job.attempt", job.Attempt)))
		done := false
		defer func() {
			if err != nil || !done {
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}()
		err = next(ctx)
		done = true
		return err
	})}
}

// queryTracer makes a span of each query that belongs to a request or job.
type queryTracer struct{ tracer trace.Tracer }

// TraceQueryStart names the span by the statement's first words: statements are written in the program, their values are parameters.
func (q queryTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	ctx, _ = q.tracer.Start(ctx, "sql "+statement(d.SQL), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("db.system.name", "postgresql")))
	return context.WithValue(ctx, inQuery, true)
}

func (q queryTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	if ctx.Value(inQuery) == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if d.Err != nil {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("db.response.status_code", sqlState(d.Err)))
	} else {
		span.SetAttributes(attribute.Int64("db.response.returned_rows", d.CommandTag.RowsAffected()))
	}
	span.End()
}

// TraceBatchStart makes one span of a whole batch.
func (q queryTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	ctx, _ = q.tracer.Start(ctx, "sql batch", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("db.system.name", "postgresql"), attribute.Int("db.operation.batch.size", d.Batch.Len())))
	return context.WithValue(ctx, inQuery, true)
}

// TraceBatchQuery says nothing of the parts.
func (queryTracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (q queryTracer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchEndData) {
	q.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{Err: d.Err})
}

type traceKey int

const inQuery traceKey = 0

// statement says what a statement does: its verb, and the first table that it names.
func statement(sql string) string {
	words := strings.FieldsFunc(sql[:min(len(sql), 2000)], func(r rune) bool { return strings.ContainsRune(" \n\t(),;", r) })
	if len(words) == 0 {
		return "?"
	}
	name := strings.ToUpper(words[0])
	for i, w := range words[:len(words)-1] {
		switch strings.ToUpper(w) {
		case "FROM", "INTO", "UPDATE":
			if table := words[i+1]; plainName.MatchString(table) {
				return name + " " + table
			}
		}
	}
	return name
}

// plainName keeps anything but names out of spans.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_.]*$`)

// sqlState is the code of a database's error.
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// traceHandler adds the id of the trace to the lines of a request or job.
type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		r.AddAttrs(slog.String("trace", c.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traceHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(a)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}
