package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling"
)

// TestWebhookSignature: a receiver that knows the secret accepts what was sent, as Standard
// Webhooks tells it to check, and nothing that was changed on the way.
func TestWebhookSignature(t *testing.T) {
	dir := t.TempDir()
	w, err := openWebhooks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := openWebhooks(dir); err != nil || again.secret("a") != w.secret("a") {
		t.Errorf("another key the second time: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "webhooks.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	d := labeling.Delivery{WebhookID: "hook", EventID: "event", Payload: `{"type": "import.finished", "data": "é"}`}
	secret := w.secret(d.WebhookID)
	calls := 0
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			http.Error(rw, "not yet", http.StatusServiceUnavailable)
			return
		}
		if calls == 3 {
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		body, _ := io.ReadAll(r.Body)
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			t.Error(err)
		}
		h := hmac.New(sha256.New, key)
		h.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
		if want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)); r.Header.Get("webhook-signature") != want || string(body) != d.Payload || r.Header.Get("webhook-id") != "event" {
			t.Errorf("%v %s", r.Header, body)
		}
		rw.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	d.URL = receiver.URL
	for i, want := range []int{503, 204, 307} { // a redirect is not followed
		if status, err := w.send(t.Context(), d); err != nil || status != want {
			t.Errorf("attempt %d: %d, %v", i+1, status, err)
		}
	}
	receiver.Close()
	if _, err := w.send(t.Context(), d); err == nil {
		t.Error("nobody was there and nobody noticed")
	}
	if w.secret("other") == secret {
		t.Error("two webhooks share a secret")
	}
	if err := os.WriteFile(filepath.Join(dir, "webhooks.key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openWebhooks(dir); err == nil {
		t.Error("a damaged key was used")
	}
}
