#!/bin/sh -e
# User data with which a VM becomes a node: containerd, and a kubelet with a bootstrap token.
mkdir -p /etc/cni/net.d /etc/containerd /etc/kubernetes
cat > /etc/containerd/config.toml <<'END'
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "@PAUSE@"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
END
cat > /etc/cni/net.d/pods.conflist <<'END'
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
END
cat > /etc/kubernetes/bootstrap.kubeconfig <<'END'
@KUBECONFIG@
END
cat > /etc/kubernetes/kubelet.yaml <<'END'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
clusterDNS: [10.0.0.10]
failSwapOn: false
resolvConf: /dev/null
END
containerd > /var/log/containerd.log 2>&1 &
until ctr version > /dev/null 2>&1; do sleep 0.2; done
ctr --namespace=k8s.io images import /pause.tar
# On the console, which nobody reads, a write of the log would block the kubelet.
kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/var/lib/kubelet/kubeconfig \
  --bootstrap-kubeconfig=/etc/kubernetes/bootstrap.kubeconfig \
  --provider-id="libvirt:///@HOST@/$(cat /sys/class/dmi/id/product_uuid)" > /var/log/kubelet.log 2>&1 &
