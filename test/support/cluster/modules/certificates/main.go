// Command certificates makes the certificates of a cluster that lives for hours: an authority, whose key nobody gets,
// the API server's (apiserver.crt), the one by which it proves itself to kubelets (kubelet-client.crt), and the one by
// which etcd and the API server know each other (etcd.crt).
//
// Usage: certificates <folder> <address of the API server>...
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const validity = 30 * 24 * time.Hour

func main() {
	if err := generate(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: certificates <folder> <address>...")
	}
	folder := args[0]
	authority := template("wormhole test cluster")
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := sign(filepath.Join(folder, "ca.crt"), authority, authority, authorityKey, authorityKey); err != nil {
		return err
	}

	server := template("kube-apiserver")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	for _, address := range args[1:] {
		ip := net.ParseIP(address)
		if ip == nil {
			return fmt.Errorf("%q is not an IP address", address)
		}
		server.IPAddresses = append(server.IPAddresses, ip)
	}
	client := template("kube-apiserver-kubelet-client")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	client.Subject.Organization = []string{"system:masters"}
	store := template("etcd")
	store.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	store.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	certificates := map[string]*x509.Certificate{"apiserver": server, "kubelet-client": client, "etcd": store}
	for name, certificate := range certificates {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		if err := sign(filepath.Join(folder, name+".crt"), certificate, authority, key, authorityKey); err != nil {
			return err
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(folder, name+".key"), "EC PRIVATE KEY", der); err != nil {
			return err
		}
	}
	return nil
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func sign(path string, certificate, authority *x509.Certificate, key, authorityKey *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, certificate, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return err
	}
	return write(path, "CERTIFICATE", der)
}

func write(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
