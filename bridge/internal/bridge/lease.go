package bridge

import (
	"context"
	"fmt"
	"os"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/app/options"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
)

// leaseName is that of every machine-controller of MCM.
const leaseName = "machine-controller"

// ReleaseLease lets another machine-controller lead at once, if this one does. MCM's library gives its lease up by
// expiry only.
//
// The library renews the lease for as long as the process runs, so it has to end directly after.
func ReleaseLease(ctx context.Context, server *options.MCServer) error {
	if !server.LeaderElection.LeaderElect {
		return nil
	}
	// As the library chooses the cluster, and itself.
	path := server.ControlKubeconfig
	switch path {
	case "":
		path = server.TargetKubeconfig
	case "inClusterConfig":
		path = ""
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	identity, err := os.Hostname()
	if err != nil {
		return err
	}
	lock, err := resourcelock.New(server.LeaderElection.ResourceLock, server.Namespace, leaseName,
		client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: identity})
	if err != nil {
		return err
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error { return release(ctx, lock) })
	if err != nil {
		return fmt.Errorf("the lease %s was not released: %w", lock.Describe(), err)
	}
	return nil
}

// release writes a lock without a holder, as Kubernetes' own leader election does, if its holder is this process.
func release(ctx context.Context, lock resourcelock.Interface) error {
	held, _, err := lock.Get(ctx)
	if err != nil || held.HolderIdentity != lock.Identity() {
		return err
	}
	now := metav1.Now()
	return lock.Update(ctx, resourcelock.LeaderElectionRecord{
		LeaderTransitions:    held.LeaderTransitions,
		LeaseDurationSeconds: 1,
		RenewTime:            now,
		AcquireTime:          now,
	})
}
