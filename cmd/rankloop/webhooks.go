package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/rankloop/rankloop/labeling"
)

// webhooks signs and sends events as Standard Webhooks describe it: the headers
// webhook-id, webhook-timestamp and webhook-signature, which is "v1," and the HMAC-SHA256
// of "id.timestamp.body". A webhook's secret is derived from the installation's key and
// the webhook's id, so that none is stored.
type webhooks struct{ key []byte }

// openWebhooks opens the installation's key of webhooks in the data folder.
func openWebhooks(dir string) (webhooks, error) {
	key, err := installationKey(dir, "webhooks.key")
	return webhooks{key}, err
}

func (w webhooks) raw(id string) []byte {
	h := hmac.New(sha256.New, w.key)
	io.WriteString(h, "webhook "+id)
	return h.Sum(nil)
}

// secret is what the receiver checks signatures with.
func (w webhooks) secret(id string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(w.raw(id))
}

func (w webhooks) sign(id, event string, at int64, body []byte) string {
	h := hmac.New(sha256.New, w.raw(id))
	fmt.Fprintf(h, "%s.%d.", event, at)
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// send makes one attempt at a delivery. What the receiver says beyond its status is not read.
func (w webhooks) send(ctx context.Context, d labeling.Delivery) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	client, err := outboundClient(ctx, d.URL)
	if err != nil {
		return 0, err
	}
	defer client.CloseIdleConnections()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	body := []byte(d.Payload)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	at := time.Now().Unix()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "rankloop")
	r.Header.Set("webhook-id", d.EventID)
	r.Header.Set("webhook-timestamp", strconv.FormatInt(at, 10))
	r.Header.Set("webhook-signature", w.sign(d.WebhookID, d.EventID, at, body))
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}
