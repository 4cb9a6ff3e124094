package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// argon2id parameters; stored with each hash, so that they may change.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2         // passes
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonKey     = 32 // bytes
)

// Length of a password in characters.
const (
	minPassword = 12
	maxPassword = 256
)

//go:embed common.txt
var commonPasswords string

// hasher computes argon2id, at most two at once.
type hasher struct {
	slots chan struct{}
	dummy string // a hash that no password has: an unknown account costs as much as a known one
}

func newHasher() *hasher {
	h := &hasher{slots: make(chan struct{}, 2)}
	h.dummy = encodeHash(randomBytes(argonSalt), randomBytes(argonKey))
	return h
}

// acquire waits for one of the two slots, up to 10 s.
func (h *hasher) acquire(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ErrBusy
	}
}

func (h *hasher) release() { <-h.slots }

// hash needs a slot.
func (h *hasher) hash(password string) string {
	salt := randomBytes(argonSalt)
	return encodeHash(salt, argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey))
}

// verify needs a slot. stale says that the hash was made with other parameters and should be renewed.
func (h *hasher) verify(password, encoded string) (ok, stale bool) {
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(encoded, "$") // "", argon2id, v=19, m=..,t=..,p=.., salt, key
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false, false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil || threads == 0 || passes == 0 {
		return false, false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) == 0 {
		return false, false
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	ok = subtle.ConstantTimeCompare(got, want) == 1
	return ok, memory != argonMemory || passes != argonTime || threads != argonThreads || len(want) != argonKey
}

func encodeHash(salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b64(salt), b64(key))
}

// checkPassword refuses passwords that are short, common, or made of the address or of one repeated character.
func checkPassword(password, email string) error {
	n := utf8.RuneCountInString(password)
	if !utf8.ValidString(password) || n < minPassword || n > maxPassword {
		return &InvalidError{"password", "must have 12 to 256 characters"}
	}
	lower := strings.ToLower(password)
	local, _, _ := strings.Cut(email, "@")
	first, _ := utf8.DecodeRuneInString(lower)
	switch {
	case strings.Trim(lower, string(first)) == "",
		lower == email,
		len(local) >= 6 && strings.Contains(lower, local) && n < len(local)+8,
		strings.Contains("\n"+commonPasswords, "\n"+lower+"\n"):
		return &InvalidError{"password", "is too easy to guess"}
	}
	return nil
}

// generatePassword returns 20 characters with 100 bits of chance, without letters that look alike.
func generatePassword() string {
	const alphabet = "23456789abcdefghjkmnpqrstuvwxyzA" // 32
	var b strings.Builder
	for i, c := range randomBytes(20) {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(alphabet[c&31])
	}
	return b.String()
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return b
}
