package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// TestIsPublic: what a redirect or a name must not lead to.
func TestIsPublic(t *testing.T) {
	for _, a := range strings.Fields(`127.0.0.1 127.8.9.1 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1
		255.255.255.255 240.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.9 ::1 :: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::7f00:1 fe80::1 fe80::1%eth0 fc00::1
		fd12::1 ff02::1 64:ff9b::7f00:1 2002:7f00:1:: 2001:db8::1 fec0::1 2001::1`) {
		if isPublic(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken for public", a)
		}
		if err := mayDial(netip.AddrPortFrom(netip.MustParseAddr(a), 443).String()); !errors.Is(err, errGuarded) {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range strings.Fields("1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 198.20.0.1 2606:4700::1 2a00:1450::1 ::ffff:8.8.8.8") {
		if !isPublic(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken for private", a)
		}
	}
	if isPublic(netip.Addr{}) || mayDial("localhost:80") == nil || mayDial("") == nil {
		t.Error("no address is an address")
	}
}

// TestOutboundGuard: a client for a public endpoint does not dial a private address,
// wherever the name or the redirect comes from; one for a private endpoint does.
func TestOutboundGuard(t *testing.T) {
	hits := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hits++ }))
	defer server.Close()
	public, err := outboundClient(t.Context(), "https://8.8.8.8")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := public.Get(server.URL); !errors.Is(err, errGuarded) || hits != 0 {
		t.Errorf("error %v, %d hits", err, hits)
	}
	private, err := outboundClient(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := private.Get(server.URL)
	if err != nil || hits != 1 {
		t.Fatalf("error %v, %d hits", err, hits)
	}
	resp.Body.Close()
	var usage usageError
	for _, bad := range []string{"", "x", "https://", "::"} {
		if _, err := outboundClient(t.Context(), bad); !errors.As(err, &usage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestRedirects: credentials stay with the host they are for, https stays https, and
// there is an end.
func TestRedirects(t *testing.T) {
	seen := map[string]string{}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen["other"] = r.Header.Get("Authorization") }))
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/same", func(w http.ResponseWriter, r *http.Request) { seen["same"] = r.Header.Get("Authorization") })
	mux.Handle("/to-same", http.RedirectHandler("/same", http.StatusFound))
	mux.Handle("/to-other", http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()
	client, err := outboundClient(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer secret")
		resp, err := client.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := errors.Join(get("/to-same"), get("/to-other")); err != nil {
		t.Fatal(err)
	}
	if seen["same"] != "Bearer secret" || seen["other"] != "" {
		t.Errorf("credentials: %q", seen)
	}
	if err := get("/round"); err == nil || !strings.Contains(err.Error(), "10 redirects") {
		t.Errorf("round and round: %v", err)
	}
	request := func(url string) *http.Request {
		return must(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
	}
	for _, c := range []struct {
		from, to string
		ok       bool
	}{{"https://a", "https://b", true}, {"http://a", "http://b", true}, {"http://a", "https://a", true}, {"https://a", "http://a", false}, {"http://a", "file:///etc/passwd", false}} {
		if err := checkRedirect(request(c.to), []*http.Request{request(c.from)}); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
