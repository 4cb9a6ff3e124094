package web

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankloop/rankloop/web/oidc"
)

// testProvider is an OpenID Connect provider: discovery, keys, the code flow with PKCE, userinfo and sign-out. It says of everybody who comes
// what claims say; spoil changes a token before it is signed.
type testProvider struct {
	*httptest.Server
	t   *testing.T
	key *rsa.PrivateKey

	mu     sync.Mutex
	claims map[string]any
	info   map[string]any // of the userinfo endpoint; nil: there is none
	spoil  func(token map[string]any)
	forge  bool // signs with another key
	codes  map[string]url.Values
}

const (
	testClient = "rankloop"
	testSecret = "the client's secret"
)

func newProvider(t *testing.T) *testProvider {
	t.Helper()
	p := &testProvider{t: t, codes: map[string]url.Values{}, claims: map[string]any{"sub": "s-1", "email": "Nora@example.com", "email_verified": true, "name": "Nora"}}
	p.key = p.newKey()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("GET /approve", p.approve)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	mux.HandleFunc("GET /end", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.FormValue("post_logout_redirect_uri"), http.StatusFound)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *testProvider) newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

// config is how rankloop knows the provider.
func (p *testProvider) config(change ...func(*oidc.Config)) *oidc.Provider {
	c := oidc.Config{Name: "work", Title: "Example Work", Issuer: p.URL, ClientID: testClient, ClientSecret: testSecret}
	for _, f := range change {
		f(&c)
	}
	return oidc.New(c, &http.Client{})
}

// set changes what it says, for good.
func (p *testProvider) set(f func(*testProvider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *testProvider) json(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *testProvider) discovery(w http.ResponseWriter, _ *http.Request) {
	d := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys", "end_session_endpoint": p.URL + "/end",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"}}
	if p.mu.Lock(); p.info != nil {
		d["userinfo_endpoint"] = p.URL + "/userinfo"
	}
	p.mu.Unlock()
	p.json(w, http.StatusOK, d)
}

func (p *testProvider) keys(w http.ResponseWriter, _ *http.Request) {
	b64 := base64.RawURLEncoding.EncodeToString
	p.json(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
		"n": b64(p.key.N.Bytes()), "e": b64(big.NewInt(int64(p.key.E)).Bytes())}}})
}

// authorize is the provider's own page, where a person says yes.
func (p *testProvider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != testClient || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		q.Get("nonce") == "" || q.Get("state") == "" || !strings.Contains(q.Get("scope"), "openid") {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(`<!doctype html><title>Example Work</title><link rel="icon" href="data:,"><a id="yes" href="/approve?` + strings.ReplaceAll(q.Encode(), "&", "&amp;") + `">Yes</a>`)) // a reader that is gone hears nothing
}

func (p *testProvider) approve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := rand.Text()
	p.set(func(p *testProvider) { p.codes[code] = q })
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		p.t.Error(err)
	}
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// token gives a code's token once, to the client who has its secret and the verifier of the code's challenge.
func (p *testProvider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, ok := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	} else if s, err := url.QueryUnescape(secret); err == nil {
		secret = s
	}
	if !ok || id != testClient || secret != testSecret || asked.Get("redirect_uri") != r.FormValue("redirect_uri") || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") {
		p.json(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	token := map[string]any{"iss": p.URL, "aud": testClient, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "nonce": asked.Get("nonce")}
	for k, v := range p.claims {
		token[k] = v
	}
	if p.spoil != nil {
		p.spoil(token)
	}
	p.json(w, http.StatusOK, map[string]any{"access_token": "an access token", "token_type": "Bearer", "expires_in": 3600, "id_token": p.sign(token)})
}

func (p *testProvider) sign(claims map[string]any) string {
	key := p.key
	if p.forge {
		key = p.newKey()
	}
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"RS256","typ":"JWT","kid":"1"}`)) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	return text + "." + b64(signature)
}

func (p *testProvider) userinfo(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer an access token" {
		p.json(w, http.StatusUnauthorized, map[string]any{})
		return
	}
	p.json(w, http.StatusOK, p.info)
}

// callback is where the provider sends a browser that comes to at, and says yes.
func (p *testProvider) callback(at string) string {
	p.t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(strings.Replace(at, "/authorize?", "/approve?", 1))
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
	u, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != http.StatusFound {
		p.t.Fatal(res.Status, err)
	}
	return u.RequestURI()
}
