package bridge

import (
	"context"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
)

// SurvivePanics makes a panic of MCM's library end the work on one Machine instead of the process, which would not
// come beyond that Machine after a restart either.
//
// The library panics on a Machine whose name has fewer than five characters, if nodes join a target cluster.
func SurvivePanics() {
	utilruntime.ReallyCrash = false
	utilruntime.PanicHandlers = append(utilruntime.PanicHandlers, func(context.Context, any) {
		klog.Error("The library of machine-controller-manager panicked, as above, and leaves the object that it worked " +
			"on alone until that changes. Does a Machine have a name of fewer than five characters? Delete it and make one " +
			"with a longer name.")
	})
}
