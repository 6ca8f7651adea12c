module wormhole.dev/test/cluster/certificates

go 1.24
