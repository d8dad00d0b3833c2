package bridge

import (
	"context"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
)

// SurvivePanics makes a panic in MCM's library end the work on one Machine instead of the process. A restarted process
// would panic at the same Machine again.
//
// The library panics on a Machine whose name has fewer than five characters, if nodes join a target cluster.
func SurvivePanics() {
	utilruntime.ReallyCrash = false
	utilruntime.PanicHandlers = append(utilruntime.PanicHandlers, func(context.Context, any) {
		klog.Error("The library of machine-controller-manager panicked, as shown above. It ignores the object that it " +
			"worked on until that changes. If a Machine has a name of fewer than five characters, delete it and create one " +
			"with a longer name.")
	})
}
