import numpy as np
from numpy.polynomial import chebyshev as C, polynomial as P
from math import erf, erfc, log, exp, sqrt, pi
def fit(f, a, b, deg, w=None, it=60):
    # weighted minimax by Lawson iteration on dense Chebyshev nodes
    t=np.cos(np.pi*(np.arange(2000)+.5)/2000); x=(a+b)/2+(b-a)/2*t
    y=np.array([f(v) for v in x]); W=np.ones_like(x) if w is None else np.array([w(v) for v in x])
    lw=np.ones_like(x); V=C.chebvander(t,deg)
    for _ in range(it):
        s=np.sqrt(lw)*W
        c=np.linalg.lstsq(V*s[:,None],y*s,rcond=None)[0]
        r=np.abs(V@c-y)*W; lw*=r+1e-30; lw/=lw.max()
    # to monomials in x
    p=C.cheb2poly(c); lin=np.array([-(a+b)/(b-a),2/(b-a)]); out=np.zeros(1); pw=np.ones(1)
    for k in p: 
        out=P.polyadd(out,k*pw); pw=P.polymul(pw,lin)
    return out, r.max()
ln2=log(2)
# exp(r) = 1 + r + r^2 * E(r)
g=lambda r: (np.expm1(r)-r)/r**2 if abs(r)>1e-4 else .5+r/6+r*r/24
c,e=fit(g,-ln2/2,ln2/2,4); print('exp',[('%.9g'%v) for v in c],e*(ln2/2)**2)
# log: atanh(s)=s + s^3 * A(s^2), 2s.. s2 in [0,1/9]
A=lambda u: ((np.arctanh(sqrt(u))/sqrt(u)-1)/u) if u>1e-6 else 1/3+u/5
c,e=fit(A,0,1/9,4); print('atanh4',[('%.9g'%v) for v in c],e/9)
c,e=fit(A,0,1/9,5); print('atanh5',[('%.9g'%v) for v in c],e/9)
# tanh on |x|<0.625: x + x^3 T(x^2)
T=lambda u: ((np.tanh(sqrt(u))/sqrt(u)-1)/u) if u>1e-6 else -1/3+2*u/15
c,e=fit(T,0,0.625**2,4); print('tanh',[('%.9g'%v) for v in c],e*.39)
# erf on |x|<1 : x*(R(x^2))
R=lambda u: erf(sqrt(u))/sqrt(u) if u>1e-12 else 2/sqrt(pi)
c,e=fit(R,0,1,6,w=lambda u:1/R(u)); print('erf small',[('%.9g'%v) for v in c],e)
# erfc(x)*exp(x^2) for x in [1,4] as polynomial of x? use log erfc
L=lambda x: log(erfc(x))
for d in (7,8,9):
    c,e=fit(L,1,4,d,w=lambda x: erfc(x)/erf(x)); print('lerfc',d,[('%.9g'%v) for v in c],e)
