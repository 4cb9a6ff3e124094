package account

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const (
	keyPrefix = "rk_live_"
	keyID     = 8  // characters
	keySecret = 43 // characters, 256 bits
)

// randomBase62 draws n characters without bias.
func randomBase62(n int) string {
	var b strings.Builder
	for b.Len() < n {
		for _, c := range randomBytes(2 * n) {
			if c < 248 && b.Len() < n { // 248 = 4*62
				b.WriteByte(base62[c%62])
			}
		}
	}
	return b.String()
}

// newSessionToken returns the cookie's value and what the table keeps of it.
func newSessionToken() (token string, hash []byte) {
	token = base64.RawURLEncoding.EncodeToString(randomBytes(32))
	return token, digest(token)
}

func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// parseKey splits rk_live_<id>_<secret>; ok is false for anything else.
func parseKey(s string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(s, keyPrefix)
	if !ok || len(rest) != keyID+1+keySecret || rest[keyID] != '_' {
		return "", "", false
	}
	id, secret = rest[:keyID], rest[keyID+1:]
	return id, secret, isBase62(id) && isBase62(secret)
}

func isBase62(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(base62, s[i]) < 0 {
			return false
		}
	}
	return true
}
