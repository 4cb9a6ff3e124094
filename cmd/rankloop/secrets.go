package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// installationKey reads a key of 32 bytes from the data folder, and makes it if there is none.
func installationKey(dir, file string) ([]byte, error) {
	name := filepath.Join(dir, file)
	key := make([]byte, 32)
	rand.Read(key)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(key)
		return key, errors.Join(err, f.Sync(), f.Close())
	}
	if !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("key of this installation: %w", err)
	}
	if key, err = os.ReadFile(name); err == nil && len(key) != 32 {
		err = fmt.Errorf("%s has %d bytes, not 32", name, len(key))
	}
	return key, err
}

// secrets keeps other servers' keys in the database sealed by AES-256-GCM under the installation's key, which is a file: who has a copy
// of the database alone has none of them. A sealed secret is the key's name (4 bytes), the nonce (12) and the ciphertext; its owner is
// authenticated with it.
type secrets struct {
	aead    cipher.AEAD
	name    []byte
	reports ed25519.PrivateKey // derived from the same key: signs reports of erasures
}

func openSecrets(dir string) (*secrets, error) {
	key, err := installationKey(dir, "secrets.key")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("name of the key "), key...))
	seed, err := hkdf.Key(sha256.New, key, nil, "reports of erasures", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return &secrets{aead, sum[:4], ed25519.NewKeyFromSeed(seed)}, nil
}

// Seal implements loop.Secrets.
func (s *secrets) Seal(owner, secret string) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	rand.Read(nonce)
	return s.aead.Seal(bytes.Join([][]byte{s.name, nonce}, nil), nonce, []byte(secret), []byte(owner)), nil
}

// Unseal implements loop.Secrets.
func (s *secrets) Unseal(owner string, sealed []byte) (string, error) {
	start := len(s.name) + s.aead.NonceSize()
	switch {
	case len(sealed) < start:
		return "", errors.New("it is damaged: set it again")
	case !bytes.Equal(sealed[:len(s.name)], s.name):
		return "", errors.New("it was sealed by another installation's secrets.key: copy that file into the data folder, or set the key again")
	}
	plain, err := s.aead.Open(nil, sealed[len(s.name):start], sealed[start:], []byte(owner))
	if err != nil {
		return "", errors.New("it is damaged: set it again")
	}
	return string(plain), nil
}
