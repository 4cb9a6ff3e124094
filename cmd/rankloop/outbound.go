package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"
)

// errGuarded says that a connection was not made because of where it leads. Trying again does not help.
var errGuarded = guardError{}

type guardError struct{}

func (guardError) Error() string { return "not allowed" }

// Permanent tells whoever retries that it is in vain.
func (guardError) Permanent() bool { return true }

// outboundClient is the one HTTP client that this program calls other servers with, made for the server at endpoint.
// Addresses are looked at when they are dialled, after the name has been resolved: only public ones are, so that neither a
// redirect nor a name that changes its address leads into the private network; except that all are where the endpoint
// itself, as the person who named it knows, is a private one. Redirects never go from https to http, and take no
// credentials to another host. Proxies of the environment are not used, since they would dial in its place.
func outboundClient(ctx context.Context, endpoint string) (*http.Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return nil, usageError{fmt.Errorf("%q is not an address such as https://huggingface.co", endpoint)}
	}
	private := sync.OnceValue(func() bool {
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		return err == nil && slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !isPublic(a) })
	})
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	dialer.Control = func(_, address string, _ syscall.RawConn) error {
		if err := mayDial(address); err != nil && !private() {
			return err
		}
		return nil
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
			IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: checkRedirect,
	}, nil
}

// mayDial refuses a resolved address, host:port, that is not on the public internet.
func mayDial(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, errGuarded)
	}
	if !isPublic(a.Addr()) {
		return fmt.Errorf("%s is not a public address: %w", a.Addr(), errGuarded)
	}
	return nil
}

// checkRedirect bounds where an answer may send the client on to.
func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) >= 10:
		return errors.New("more than 10 redirects")
	case r.URL.Scheme != "https" && (r.URL.Scheme != "http" || first.Scheme == "https"):
		return fmt.Errorf("redirect to %s: %w", r.URL.Redacted(), errGuarded)
	}
	if r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
		r.Header.Del("Authorization")
	}
	return nil
}

// notPublic are the blocks that netip does not know by a name of their own: shared and benchmark addresses, those of
// documentation and protocols, reserved ones, and those that carry an IPv4 address inside.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// isPublic says whether an address is one of the public internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
