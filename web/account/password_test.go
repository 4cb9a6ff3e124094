package account

import (
	"encoding/base64"

	"golang.org/x/crypto/argon2"
)

// encodeOld is the key part of a hash with weaker parameters and the salt "somesaltsomesalt".
func encodeOld(password string) string {
	return base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(password), []byte("somesaltsomesalt"), 1, 64, 1, 32))
}
