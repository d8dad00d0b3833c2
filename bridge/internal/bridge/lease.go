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

// leaseName is the name that all of MCM's machine-controllers use.
const leaseName = "machine-controller"

// ReleaseLease lets another machine-controller become the leader at once, if this one is the leader. MCM's library only
// lets its lease expire.
//
// The library renews the lease for as long as the process runs, so the process has to end directly afterwards.
func ReleaseLease(ctx context.Context, server *options.MCServer) error {
	if !server.LeaderElection.LeaderElect {
		return nil
	}
	// The same choice of cluster and identity as in the library.
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

// release removes the holder of a lock, as Kubernetes' own leader election does, if the holder is this process.
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
