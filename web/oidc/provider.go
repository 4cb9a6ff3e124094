package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Sentinels of this room.
var (
	ErrUnreachable = errors.New("oidc: the provider does not answer as it should")
	ErrRefused     = errors.New("oidc: the provider does not take the code")
	ErrToken       = errors.New("oidc: the provider's token does not hold")
	ErrUnverified  = errors.New("oidc: the provider has no verified e-mail address")
)

// askLimit is how long one request to a provider may take.
const askLimit = 10 * time.Second

// Provider is an identity provider. Its methods may be called at the same time.
type Provider struct {
	Config
	client *http.Client

	looking chan struct{}    // holds one while a provider is looked up
	found   *gooidc.Provider // nil: not looked up yet; guarded by looking
}

// New makes a provider that is asked by the client. It asks nothing yet.
func New(c Config, client *http.Client) *Provider {
	own := *client
	own.Timeout = askLimit
	return &Provider{Config: c.WithDefaults(), client: &own, looking: make(chan struct{}, 1)}
}

// Person is who signed in.
type Person struct {
	Issuer  string
	Subject string
	Email   string // verified
	Name    string
	Claims  map[string]any
}

// discover looks the provider's endpoints up, once they are found for good.
func (p *Provider) discover(ctx context.Context) (*gooidc.Provider, error) {
	select {
	case p.looking <- struct{}{}:
		defer func() { <-p.looking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.found != nil {
		return p.found, nil
	}
	found, err := gooidc.NewProvider(p.with(ctx), p.Issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: discovery: %w", ErrUnreachable, err)
	}
	p.found = found
	return found, nil
}

func (p *Provider) with(ctx context.Context) context.Context {
	return gooidc.ClientContext(ctx, p.client)
}

func (p *Provider) oauth(found *gooidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: found.Endpoint(), RedirectURL: redirect, Scopes: p.Scopes}
}

// NewVerifier makes the secret of a code (PKCE).
func NewVerifier() string { return oauth2.GenerateVerifier() }

// SignInURL is where a browser goes to sign in; the answer comes to redirect.
func (p *Provider) SignInURL(ctx context.Context, redirect, state, nonce, verifier string) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return p.oauth(found, redirect).AuthCodeURL(state, gooidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// Redeem exchanges the code that came to redirect for who signed in.
func (p *Provider) Redeem(ctx context.Context, redirect, code, nonce, verifier string) (Person, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Person{}, err
	}
	token, err := p.oauth(found, redirect).Exchange(p.with(ctx), code, oauth2.VerifierOption(verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response.StatusCode < 500:
		return Person{}, fmt.Errorf("%w: %s", ErrRefused, refused.ErrorCode)
	case err != nil:
		return Person{}, fmt.Errorf("%w: token: %w", ErrUnreachable, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Person{}, fmt.Errorf("%w: there is none", ErrToken)
	}
	id, err := found.Verifier(&gooidc.Config{ClientID: p.ClientID}).Verify(p.with(ctx), raw)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return Person{}, fmt.Errorf("%w: the nonce is another sign-in's", ErrToken)
	}
	return p.person(ctx, found, token, id)
}

// claims are those of a token, or of the userinfo endpoint.
type claims struct {
	Email    string `json:"email"`
	Verified any    `json:"email_verified"` // some send the word instead of the value
	Name     string `json:"name"`
}

func (c claims) verified() bool { return c.Email != "" && (c.Verified == true || c.Verified == "true") }

// person reads the claims; an address that is not in the token is asked for.
func (p *Provider) person(ctx context.Context, found *gooidc.Provider, token *oauth2.Token, id *gooidc.IDToken) (Person, error) {
	out := Person{Issuer: id.Issuer, Subject: id.Subject}
	var c claims
	if err := errors.Join(id.Claims(&c), id.Claims(&out.Claims)); err != nil {
		return Person{}, fmt.Errorf("%w: claims: %w", ErrToken, err)
	}
	if id.Subject == "" {
		return Person{}, fmt.Errorf("%w: it has no subject", ErrToken)
	}
	if c.Email == "" && found.UserInfoEndpoint() != "" {
		info, err := found.UserInfo(p.with(ctx), oauth2.StaticTokenSource(token))
		if err != nil {
			return Person{}, fmt.Errorf("%w: userinfo: %w", ErrUnreachable, err)
		}
		if info.Subject != id.Subject {
			return Person{}, fmt.Errorf("%w: userinfo is about somebody else", ErrToken)
		}
		if err := info.Claims(&c); err != nil {
			return Person{}, fmt.Errorf("%w: userinfo: %w", ErrToken, err)
		}
	}
	if !c.verified() {
		return Person{}, ErrUnverified
	}
	out.Email, out.Name = c.Email, c.Name
	return out, nil
}

// SignOutURL is where a browser ends the session at the provider too (OpenID Connect RP-Initiated Logout 1.0); empty where the provider has
// no such place or does not answer. back is where it returns to.
func (p *Provider) SignOutURL(ctx context.Context, back string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // the page must not wait for a provider that is down
	defer cancel()
	found, err := p.discover(ctx)
	if err != nil {
		return ""
	}
	var end struct {
		URL string `json:"end_session_endpoint"`
	}
	if found.Claims(&end) != nil || end.URL == "" {
		return ""
	}
	u, err := url.Parse(end.URL)
	if err != nil || u.Scheme != "https" && !loopback(u.Hostname()) {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.ClientID)
	q.Set("post_logout_redirect_uri", back)
	u.RawQuery = q.Encode()
	return u.String()
}
