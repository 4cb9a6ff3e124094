package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// engineFlags say where other engines may be.
type engineFlags struct {
	EngineNetworks []string `name:"engine-networks" help:"Private addresses and networks where other engines may be asked for answers, such as 127.0.0.1 or 10.0.0.0/8; public ones may be asked by https in any case." placeholder:"NETWORK"`
}

func (f engineFlags) prefixes() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range f.EngineNetworks {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(s); err == nil {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil || !p.IsValid() {
			return nil, usageError{fmt.Errorf("--engine-networks %s: an address or network such as 10.0.0.0/8 is wanted", s)}
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// engineClient is the HTTP client that other engines are asked with. Like outboundClient it looks at an address when it is dialled, after
// the name has been resolved, and asks no proxy. Public addresses are dialled for https alone, so that no key and no prompt crosses the
// internet in the clear; others only within the networks that the operator names, with either scheme. Redirects are not followed.
func engineClient(networks []netip.Prefix) *http.Client {
	inside := func(a netip.Addr) bool {
		a = a.Unmap()
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return &http.Client{
		Transport: byScheme{
			plain: guardedTransport(inside),
			tls:   guardedTransport(func(a netip.Addr) bool { return isPublic(a) || inside(a) }),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// byScheme sends requests of the two schemes through transports of their own.
type byScheme struct{ plain, tls http.RoundTripper }

func (b byScheme) RoundTrip(r *http.Request) (*http.Response, error) {
	switch strings.ToLower(r.URL.Scheme) {
	case "http":
		return b.plain.RoundTrip(r)
	case "https":
		return b.tls.RoundTrip(r)
	}
	return nil, fmt.Errorf("scheme %s: %w", r.URL.Scheme, errGuarded)
}

// guardedTransport dials the addresses that may be.
func guardedTransport(may func(netip.Addr) bool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !may(a.Addr()) {
			return fmt.Errorf("%s: %w", address, errGuarded)
		}
		return nil
	}}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 4, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
}
